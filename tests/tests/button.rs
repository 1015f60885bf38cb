//! The IoT Button on a real MicroPython: each flash holds old or new settings whatever happens, and the same command finishes.

#![allow(clippy::print_stdout)] // How much was swept.

use std::{path::PathBuf, sync::Arc, time::Duration};

use qdrs_tests::{
    Button, Cloud, Cut, Dice, Flash, Line, LineOptions, Station, boards, connection_string, deep, factory_settings, others,
    serials, settings_that_a_boot_would_load,
};
use tokio::task::JoinSet;

/// The button's speed.
const BAUD: u32 = 115_200;

/// A second of the board is this long here, in ms: its timer is as wild, and stopping it takes less of our time.
const SECOND: [&str; 2] = ["--second", "200"];

/// So many stories are told at once; most of each is waiting for the line.
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_onto_four_buttons_in_parallel_over_paced_lines() {
    let cloud = Cloud::start().await;
    let station = Station::new("line-1", &cloud.url(), &cloud.access_code("line-1", &[]));
    let serials = serials(if deep() { 200 } else { 12 });
    let folder = tempfile::tempdir().expect("a folder");
    let many = serials.len().to_string();
    let buttons: Vec<Button> = (0..4)
        .map(|slot| {
            let seed = slot.to_string();
            let options = [&SECOND[..], &["--boards", &many, "--noise", "--seed", &seed, "--unit", &seed]].concat();
            Button::start(&folder.path().join(&seed), &options)
        })
        .collect();
    let paced = LineOptions { baud: Some(BAUD), overruns: true, ..LineOptions::default() };
    let lines: Vec<Line> = buttons.iter().map(|button| Line::to(button.port_name(), paced, "batch")).collect();
    let ports: Vec<String> = lines.iter().map(Line::port_name).collect();

    station.provision_at("texxmo", &station.batch(&serials), &ports).ends().await.with_code(0);

    let flashes = buttons.iter().flat_map(Button::boards);
    let settings: Vec<Flash> = flashes.map(|flash| settings_that_a_boot_would_load(&flash).expect("it would boot")).collect();
    let held: Vec<_> = settings.iter().filter_map(connection_string).collect();
    cloud.books().balance(&serials, &held);
    for row in cloud.books().ledger.values() {
        assert_eq!(row.evidence.as_deref(), Some("read-back"), "{row:?}");
    }
    for settings in &settings {
        assert_eq!(others(settings), others(&factory_settings()), "another setting changed");
    }
    assert_eq!(lines.iter().map(Line::lost).sum::<u64>(), 0, "the device was sent more than it can hold");
}

/// What is done to one job, by its name.
struct Harm {
    name: String,
    line: LineOptions,
    /// What the practice button is told at one contact after the other; the power fails in each, or the line.
    contacts: Vec<Vec<String>>,
}

/// The one harm that may leave neither old nor new: the power fails inside the rename, and again while the next boot
/// rewrites the backup that it fell back on. The next contact mends it.
const KNOWN_LIMIT: &str = "twice:6,2";

/// How long a run on a line that flips bits may say nothing before it is taken to wait for another board.
const FLIPS_PATIENCE: Duration = Duration::from_secs(25);

/// The steps of the flash: the boot's backup takes two, the new file two, the rename two.
const STEPS: u64 = 6;

impl Harm {
    fn named(name: &str) -> Self {
        let (kind, rest) = name.split_once(':').expect("a harm is `kind:numbers`");
        let numbers: Vec<u64> = rest.split(',').filter_map(|number| number.parse().ok()).collect();
        let mut line = LineOptions { baud: Some(BAUD), overruns: true, ..LineOptions::default() };
        let cut_op = |step: u64| vec!["--cut-op".to_owned(), step.to_string()];
        // Silent at one byte, hung up at the next.
        let cut = |after: u64| Some(Cut { after, hangs_up: after.is_multiple_of(2) });
        let contacts = match (kind, numbers[..].first(), numbers[..].get(1)) {
            ("to-device", Some(&after), None) => {
                line.cut_to_device = cut(after);
                vec![vec![]]
            }
            ("to-host", Some(&after), None) => {
                line.cut_to_host = cut(after);
                vec![vec![]]
            }
            ("flips", Some(&share), Some(_)) => {
                line.flips_per_million = u32::try_from(share).expect("a share");
                vec![vec![]]
            }
            ("power", Some(at), None) => vec![vec!["--cut".to_owned(), at.to_string()]],
            ("rename", None, None) => vec![vec!["--cut-in-rename".to_owned(), rest.to_owned()]],
            ("flash", Some(&step), None) => vec![cut_op(step)],
            ("boot", Some(&step), None) => vec![vec![], cut_op(step)],
            ("twice", Some(&first), Some(&second)) => vec![cut_op(first), cut_op(second)],
            _ => panic!("no harm is called {name}"),
        };
        Self { name: name.to_owned(), line, contacts }
    }

    /// All of them, for a job of so many bytes in each direction; of those that are many, one in `share`.
    fn all(to_device: u64, to_host: u64, share: u64) -> Vec<Self> {
        let mut dice = Dice::new("a_cut_anywhere");
        let mut some = |names: Vec<String>| -> Vec<String> { names.into_iter().filter(|_| dice.below(share) == 0).collect() };
        let each = |kind: &str, until: u64| (1..=until).map(|at| format!("{kind}:{at}")).collect::<Vec<_>>();
        let pairs = (3..=STEPS).flat_map(|first| (1..=STEPS).map(move |second| format!("twice:{first},{second}")));
        let flips =
            [50, 100, 200, 500, 1000, 2000].into_iter().flat_map(|rate| (1..=5).map(move |seed| format!("flips:{rate},{seed}")));
        let few = [each("flash", STEPS), each("boot", 2), vec!["rename:before".into(), "rename:after".into()]].concat();
        let many = [each("to-device", to_device), each("to-host", to_host), each("power", to_device)].concat();
        let names = [few, vec![KNOWN_LIMIT.to_owned()], some(pairs.collect()), some(flips.collect()), some(many)].concat();
        names.iter().map(|name| Self::named(name)).collect()
    }

    /// How to do it again, for what a failure says.
    fn again(&self) -> String {
        format!("{name}, alone: QDRS_TEST_HARM={name} tests/run a_cut_anywhere", name = self.name)
    }
}

/// How many bytes an undisturbed job takes, in each direction.
async fn undisturbed(cloud: &Cloud, station: &Station, serial: &str) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let button = Button::start(folder.path(), &SECOND);
    let line = Line::to(button.port_name(), LineOptions::default(), "sweep");
    let serial = vec![serial.to_owned()];
    station.provision_at("texxmo", &station.batch(&serial), &[line.port_name()]).ends().await.with_code(0);
    assert_eq!(cloud.books().ledger[&serial[0]].evidence.as_deref(), Some("read-back"));
    (line.to_device(), line.to_host())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_anywhere_leaves_old_or_new_and_the_same_command_finishes() {
    let cloud = Cloud::start().await;
    let code = cloud.access_code("line-1", &[]);
    let all = serials(20_000);
    let (to_device, to_host) = undisturbed(&cloud, &Station::new("line-1", &cloud.url(), &code), &all[0]).await;
    let harms = match std::env::var("QDRS_TEST_HARM") {
        Ok(name) => vec![Harm::named(&name)],
        Err(_) => Harm::all(to_device, to_host, if deep() { 1 } else { 10 }),
    };
    let (count, begun) = (harms.len(), std::time::Instant::now());

    let world = Arc::new((cloud, code));
    let mut under_way = JoinSet::new();
    let mut failed = Vec::new();
    let mut stories = harms.into_iter().zip(all.into_iter().skip(1));
    loop {
        while under_way.len() < AT_ONCE
            && let Some((harm, serial)) = stories.next()
        {
            let world = Arc::clone(&world);
            let again = harm.again();
            under_way.spawn(async move {
                let story = tokio::spawn(async move { one_harm(&world.0, &world.1, harm, serial).await });
                story.await.err().map(|_| again)
            });
        }
        let Some(story) = under_way.join_next().await else { break };
        failed.extend(story.expect("the story is told"));
    }
    println!("{count} harms to a job of {to_device} and {to_host} bytes in {} s", begun.elapsed().as_secs());
    assert!(failed.is_empty(), "of {count} harms {} are not mended:\n{}", failed.len(), failed.join("\n"));
}

/// One board, one serial: harmed, judged, and finished by the same command.
async fn one_harm(cloud: &Cloud, code: &std::path::Path, harm: Harm, serial: String) {
    let again = harm.again();
    let station = Station::new("line-1", &cloud.url(), code);
    let serials = vec![serial.clone()];
    let batch = station.batch(&serials);
    let folder = tempfile::tempdir().expect("a folder");
    // Each story has a board of its own: one board is made as one serial only.
    let unit = (serial.trim_start_matches("QD-").parse::<u64>().expect("a number") / 7 % 65536).to_string();
    let options = [&SECOND[..], &["--unit", &unit]].concat();
    let mut flash = PathBuf::new();
    for contact in &harm.contacts {
        let told: Vec<&str> = options.iter().copied().chain(contact.iter().map(String::as_str)).collect();
        let mut button = Button::start(folder.path(), &told);
        let line = Line::to(button.port_name(), harm.line, &harm.name);
        let mut run = station.provision_at("texxmo", &batch, &[line.port_name()]);
        // Until it says how it went, or the harm is done and it would wait for a device for ever. What flips made of an order
        // to the board nobody knows: when the run says nothing more, it waits, too.
        let patience = if harm.line.flips_per_million > 0 { FLIPS_PATIENCE } else { Duration::MAX };
        tokio::select! {
            () = async {
                while let Ok(Some(event)) = tokio::time::timeout(patience, run.event()).await
                    && event["event"] != "summary"
                {}
            } => {}
            () = qdrs_tests::until(&again, || line.is_cut() || button.power_failed()) => {}
        }
        run.kill_after(0).await;
        let in_flash = contact.first().is_some_and(|word| word.starts_with("--cut-"));
        assert!(button.power_failed() || !in_flash, "its power did not fail: {again}");
        drop(line);
        drop(button);

        flash = boards(folder.path()).pop().expect("the board has a flash");
        let Some(loads) = settings_that_a_boot_would_load(&flash) else {
            assert_eq!(harm.name, KNOWN_LIMIT, "neither old nor new: {again}");
            continue;
        };
        assert_eq!(others(&loads), others(&factory_settings()), "another setting changed: {again}");
        if let Some(holds) = connection_string(&loads) {
            let live = cloud.books().hub.get(&holds.device_id).cloned();
            assert_eq!(live, Some(holds.key.fingerprint().to_string()), "it holds what is neither old nor new: {again}");
        }
    }

    let button = Button::start(folder.path(), &options);
    let line = Line::to(button.port_name(), LineOptions::default(), &harm.name);
    let run = station.provision_at("texxmo", &batch, &[line.port_name()]).ends().await;
    assert_eq!(run.code, Some(0), "the same command does not finish: {again}\n{}\n{}", run.stdout, run.stderr);
    let settings = settings_that_a_boot_would_load(&flash).expect("it would boot");
    let holds = connection_string(&settings).unwrap_or_else(|| panic!("it holds nothing: {again}"));
    let books = cloud.books();
    assert_eq!(books.ledger[&serial].state, "confirmed", "{again}");
    assert_eq!(books.hub.get(&holds.device_id), Some(&holds.key.fingerprint().to_string()), "{again}");
    assert!(flash.join("config.json").exists() && !flash.join("config.json.new").exists(), "something is left over: {again}");
}
