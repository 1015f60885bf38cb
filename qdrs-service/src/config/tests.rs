//! File, variables and flags meet once; each fault has its sentence.

use std::ffi::OsString;

use super::*;

const CONNECTION: &str =
    "HostName=example.azure-devices.net;SharedAccessKeyName=registryReadWrite;SharedAccessKey=c2VjcmV0IG9mIHRoZSBvd25lcg==";

struct World {
    dir: tempfile::TempDir,
    variables: BTreeMap<&'static str, String>,
    flags: Flags,
}

impl World {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let flags = Flags { config: Some(dir.path().join("service.toml")), ..Flags::default() };
        let world = Self { dir, variables: BTreeMap::new(), flags };
        world.write("service.toml", config, 0o644);
        world
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        self.restrict(name, mode);
    }

    fn restrict(&self, name: &str, mode: u32) {
        let path = self.dir.path().join(name);
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("set");
        #[cfg(not(unix))]
        let _ = (path, mode);
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.flags, &|name| self.variables.get(name).map(OsString::from))
    }

    fn refused(&self) -> String {
        let error = self.load().expect_err("refused").to_string();
        error.replace(&self.dir.path().display().to_string(), "DIR")
    }
}

#[test]
fn the_sample_is_sound() {
    let world = World::new(SAMPLE);
    world.write("hub-connection", CONNECTION, 0o600);
    let config = world.load().expect("loads");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!((config.limits, &config.network), (Limits::default(), &Network::default()), "the sample shows the defaults");
    for (name, _) in Limits::default().named() {
        assert!(SAMPLE.contains(&format!("\n{name} = ")), "{name}");
    }
    for (name, _) in Network::default().named() {
        assert!(SAMPLE.contains(&format!("\n{name} = ")) || SAMPLE.contains(&format!("\n# {name} = ")), "{name}");
    }
    assert_eq!(config.ledger, world.dir.path().join("qdrs-ledger.sqlite"));
    assert_eq!(config.hub_name(None).expect("a hub"), "main");
    assert_eq!(config.policy(None).expect("a policy").name, "default");
    assert_eq!(config.hubs["main"].owner("main").expect("opens").host_name, "example.azure-devices.net");
}

#[test]
fn whatever_the_sample_offers_can_be_switched_on() {
    let offered = SAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting)
            if setting
                .split_once(" = ")
                .is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')) =>
        {
            setting
        }
        _ => line,
    });
    let all = offered.filter(|line| *line != "listen = \"127.0.0.1:8080\"").collect::<Vec<_>>().join("\n");
    let world = World::new(&all);
    std::fs::create_dir(world.dir.path().join("policies")).expect("a folder");
    world.write("policies/multiples-of-7.toml", include_str!("../../../samples/policies/multiples-of-7.toml"), 0o644);
    let config = world.load().expect("loads");
    assert_eq!(config.listen.port(), 8443);
    assert!(config.tls.is_some() && config.hubs["main"].endpoint.is_some() && config.hubs["main"].ca_file.is_some());
    let total = config.policies.get("default").and_then(Policy::total_max);
    assert!(config.policies.get("multiples-of-7").is_some() && total.is_some());
    assert!(config.network.proxy_protocol && config.network.trusted_proxies.trusts("10.1.2.3".parse().expect("an address")));
}

#[test]
fn a_policy_brings_its_list_and_its_key() {
    let mut world = World::new(
        "version = 1\npolicy_files = ['policies/listed.toml']\n[[policies.signed.rule]]\nkind = 'signed'\nkey_file = 'a.key'\n[[policies.env.rule]]\nkind = 'signed'\nkey_env = 'SIGNING_KEY'",
    );
    std::fs::create_dir(world.dir.path().join("policies")).expect("a folder");
    world.write("policies/listed.toml", "[[rule]]\nkind = 'list'\nfile = 'list.csv'", 0o644);
    world.write("policies/list.csv", "serial\nA1\n", 0o644);
    world.write("a.key", "MDEyMzQ1Njc4OWFiY2RlZg==\n", 0o644);
    let loaded = |world: &World| {
        let policies = world.load().expect("loads").policies;
        policies.loaded(&|name| world.variables.get(name).map(OsString::from)).map_err(|error| error.to_string())
    };
    // Nothing of it is needed to read the config itself.
    assert!(loaded(&world).expect_err("no variable").contains("the variable `SIGNING_KEY` with its key is not set"));
    world.variables.insert("SIGNING_KEY", "MDEyMzQ1Njc4OWFiY2RlZg==".into());
    assert!(loaded(&world).expect_err("an open file").contains("lets others read it"));
    world.write("a.key", "MDEyMzQ1Njc4OWFiY2RlZg==\n", 0o600);
    let policies = loaded(&world).expect("all is there");
    assert!(policies["listed"].check("A1").is_ok() && policies["listed"].check("A2").is_err());
    let serial = policies["signed"].sign("X").expect("signs");
    assert!(policies["env"].check(serial.as_str()).is_ok(), "it is the same key");
    let only = world.load().expect("loads").policies.only("listed").loaded(&|_| None).expect("needs no key");
    assert_eq!(only.len(), 1);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let mut world = World::new("version = 1\nlisten = '127.0.0.1:1'\nledger = 'a'");
    let listen = |world: &World| world.load().expect("loads").listen.port();
    assert_eq!(listen(&world), 1);
    world.variables.insert(env::LISTEN, "127.0.0.1:2".into());
    assert_eq!(listen(&world), 2);
    world.flags.listen = Some("127.0.0.1:3".into());
    assert_eq!(listen(&world), 3);
    let config = world.load().expect("loads");
    let origins: Vec<_> = config.origins.iter().map(|(name, _, origin)| (*name, *origin)).collect();
    assert_eq!(origins, [("listen", Origin::Flag), ("ledger", Origin::File)]);
}

#[test]
fn the_version_is_asked_for_before_anything_else() {
    assert_eq!(
        World::new("version = 2\nshiny = true").refused(),
        "DIR/service.toml: it has version 2, and this service reads version 1 at most"
    );
    assert_eq!(World::new("listen = '127.0.0.1:1'").refused(), "DIR/service.toml: there is no `version = 1`");
}

#[test]
fn a_fault_names_its_line_and_never_shows_it() {
    let world = World::new(&format!("version = 1\n[hubs.main]\nconection = '{CONNECTION}'"));
    let refused = world.refused();
    assert!(refused.starts_with("DIR/service.toml, line 3: unknown field `conection`"), "{refused}");
    assert!(!refused.contains("c2VjcmV0"), "{refused}");
    let broken = World::new(&format!("version = 1\n[hubs.main]\nconnection = '{CONNECTION}")).refused();
    assert!(broken.contains("line 3") && !broken.contains("c2VjcmV0"), "{broken}");
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_may_read_is_refused() {
    let world = World::new("version = 1\n[hubs.main]\nconnection_file = 'hub'");
    world.write("hub", CONNECTION, 0o640);
    let error = world.load().expect("loads without its secrets").hubs["main"].owner("main").expect_err("refused");
    assert!(error.to_string().ends_with("it holds a secret, and its mode 640 lets others read it"), "{error}");
    let inline = World::new(&format!("version = 1\n[hubs.main]\nconnection = '{CONNECTION}'"));
    assert!(matches!(inline.load(), Err(ConfigError::Open { .. })));
}

#[test]
fn a_connection_string_is_taken_as_tools_write_it_and_another_kind_is_named() {
    let world = World::new("version = 1\n[hubs.main]\nconnection_file = 'hub'");
    let give = |bytes: &[u8]| {
        let path = world.dir.path().join("hub");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).expect("written");
        world.restrict("hub", 0o600);
        world.load().expect("loads").hubs["main"].owner("main")
    };
    let powershell: Vec<u8> = format!("\u{feff}{CONNECTION}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cli = format!("WARNING: a remark\n{{\n  \"connectionString\": \"{CONNECTION}\"\n}}\n");
    for bytes in [powershell.as_slice(), cli.as_bytes()] {
        assert_eq!(give(bytes).expect("is taken").host_name, "example.azure-devices.net");
    }
    let dps = CONNECTION.replace(".azure-devices.", ".azure-devices-provisioning.");
    let error = give(dps.as_bytes()).expect_err("is another kind");
    assert!(error.to_string().contains("a Device Provisioning Service's"), "{error}");
    assert!(error.help().contains("Shared access policies"), "{}", error.help());
}

#[test]
fn the_name_that_devices_get_is_a_setting_and_never_the_services() {
    let host = |setting: &str| {
        let world = World::new(&format!("version = 1\n[hubs.main]\nconnection_file = 'hub'\n{setting}"));
        world.write("hub", &CONNECTION.replace("example.", "example.service."), 0o600);
        let config = world.load().map_err(|error| error.to_string())?;
        let hub = &config.hubs["main"];
        hub.host_for_devices("main", &hub.owner("main").expect("opens")).map_err(|error| error.to_string())
    };
    assert_eq!(host("").as_deref(), Ok("example.azure-devices.net"));
    assert_eq!(host("device_host = 'device'").as_deref(), Ok("example.device.azure-devices.net"));
    for service in ["service", "example.service.azure-devices.net"] {
        let why = host(&format!("device_host = '{service}'")).expect_err("refused");
        assert!(why.ends_with("a hub's service name is not valid in a device connection string"), "{why}");
    }
    let mut world = World::new("version = 1");
    world.variables.insert(env::HUB_CONNECTION, CONNECTION.into());
    world.variables.insert(env::HUB_DEVICE_HOST, "device".into());
    assert_eq!(world.load().expect("loads").hubs["main"].device_host, DeviceHost::Device);
}

#[test]
fn variables_alone_make_a_hub() {
    let mut world = World::new("version = 1");
    world.variables.insert(env::HUB_CONNECTION, CONNECTION.into());
    world.variables.insert(env::HUB_ENDPOINT, "http://127.0.0.1:8081".into());
    let config = world.load().expect("loads");
    assert_eq!(config.default_hub.as_deref(), Some("main"));
    assert_eq!(config.hubs["main"].owner("main").expect("opens").key_name, "registryReadWrite");
    assert!(!format!("{config:?}").contains("c2VjcmV0"), "no secret in Debug");
}

#[test]
fn what_can_not_be_is_said_in_a_sentence() {
    for (config, says) in [
        ("listen = 'here'", "listen (file): `here` is no address and port, such as 127.0.0.1:8080"),
        ("tls_cert = 'a'", "TLS needs both a certificate and its key; tls_key is missing"),
        ("default_hub = 'x'", "there is no hub `x`; the config has none"),
        ("[hubs.a]\nendpoint = 'ftp://x'", "hub `a`, endpoint (file): `ftp` is neither http nor https"),
        (
            "[limits]\ncode_burst = 0",
            "limits (DIR/service.toml): `code_burst` is 0, so nobody could ask anything; it is 1 at least",
        ),
    ] {
        assert_eq!(World::new(&format!("version = 1\n{config}")).refused(), says);
    }
}

#[test]
fn a_config_in_another_encoding_is_told_from_one_that_may_not_be_read() {
    let world = World::new("");
    let utf16: Vec<u8> = "\u{feff}version = 1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(world.dir.path().join("service.toml"), utf16).expect("written");
    assert!(world.load().expect_err("refused").help().contains("UTF-8"));
    std::fs::remove_file(world.dir.path().join("service.toml")).expect("removed");
    assert!(world.load().expect_err("refused").help().contains("the path"));
}
