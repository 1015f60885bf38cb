//! The IoT Button on a real MicroPython: each flash holds old or new settings whatever happens, and the same command finishes.

use qdrs_tests::{
    Button, Cloud, Cut, Dice, Flash, Line, LineOptions, Station, boards, connection_string, deep, factory_settings, others,
    serials, settings_that_a_boot_would_load,
};

/// The button's speed.
const BAUD: u32 = 115_200;

/// A second of the board is this long here, in ms: its timer is as wild, and stopping it takes less of our time.
const SECOND: [&str; 2] = ["--second", "200"];

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

/// What is done to one job.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Line(Cut),
    LineToHost(Cut),
    Power(u64),
    PowerInFlash(u64),
    PowerInRename(&'static str),
    Flips(u32),
}

impl Harm {
    /// What the practice button is told.
    fn options(self) -> Vec<String> {
        let words = match self {
            Self::Power(at) => vec!["--cut".to_owned(), at.to_string()],
            Self::PowerInFlash(at) => vec!["--cut-op".to_owned(), at.to_string()],
            Self::PowerInRename(when) => vec!["--cut-in-rename".to_owned(), when.to_owned()],
            _ => Vec::new(),
        };
        SECOND.iter().map(|&word| word.to_owned()).chain(words).collect()
    }

    fn line(self) -> LineOptions {
        let mut options = LineOptions { baud: Some(BAUD), overruns: true, ..LineOptions::default() };
        match self {
            Self::Line(cut) => options.cut_to_device = Some(cut),
            Self::LineToHost(cut) => options.cut_to_host = Some(cut),
            Self::Flips(share) => options.flips_per_million = share,
            _ => {}
        }
        options
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
    let mut dice = Dice::new("a_cut_anywhere");
    let mut harms = vec![Harm::PowerInRename("before"), Harm::PowerInRename("after")];
    // Each step of the flash after the first boot (its two are the backup); each byte in the deep run, else some.
    harms.extend((3..12).map(Harm::PowerInFlash));
    let share = if deep() { 1 } else { 40 };
    let mut chosen = |until: u64| -> Vec<u64> { (1..=until).filter(|_| dice.below(share) == 0).collect() };
    harms.extend(chosen(to_device).into_iter().map(|after| Harm::Line(Cut { after, hangs_up: after % 2 == 0 })));
    harms.extend(chosen(to_host).into_iter().map(|after| Harm::LineToHost(Cut { after, hangs_up: after % 2 == 0 })));
    harms.extend(chosen(to_device).into_iter().map(Harm::Power));
    harms.extend([100, 500, 1000].map(Harm::Flips));

    let world = std::sync::Arc::new((cloud, code));
    let mut under_way = tokio::task::JoinSet::new();
    for (harm, serial) in harms.into_iter().zip(all.into_iter().skip(1)) {
        if under_way.len() == 8 {
            under_way.join_next().await.expect("one is under way").expect("the story holds");
        }
        let world = std::sync::Arc::clone(&world);
        under_way.spawn(async move { one_harm(&world.0, &world.1, harm, serial).await });
    }
    while let Some(story) = under_way.join_next().await {
        story.expect("the story holds");
    }
}

/// One board, one serial: harmed, judged, and finished by the same command.
async fn one_harm(cloud: &Cloud, code: &std::path::Path, harm: Harm, serial: String) {
    let station = Station::new("line-1", &cloud.url(), code);
    let serials = vec![serial.clone()];
    let batch = station.batch(&serials);
    let folder = tempfile::tempdir().expect("a folder");
    // Each story has a board of its own: one board is made as one serial only.
    let unit = serial.trim_start_matches("QD-").parse::<u64>().expect("a number") / 7 % 65536;
    let unit = ["--unit".to_owned(), unit.to_string()];
    let options = [harm.options(), unit.to_vec()].concat();
    let mut button = Button::start(folder.path(), &options.iter().map(String::as_str).collect::<Vec<_>>());
    {
        let line = Line::to(button.port_name(), harm.line(), &serial);
        let mut run = station.provision_at("texxmo", &batch, &[line.port_name()]);
        let what = format!("{harm:?}");
        // Until it says how it went, or the harm is done and it would wait for a device for ever.
        tokio::select! {
            () = async { while run.event().await.is_some_and(|event| event["event"] != "summary") {} } => {}
            () = qdrs_tests::until(&what, || line.is_cut() || button.power_failed()) => {}
        }
        run.kill_after(0).await;
    }
    drop(button);

    let flash = boards(folder.path()).pop().expect("the board has a flash");
    let loads = settings_that_a_boot_would_load(&flash).unwrap_or_else(|| panic!("{harm:?}: neither old nor new"));
    assert_eq!(others(&loads), others(&factory_settings()), "{harm:?}: another setting changed");
    if let Some(holds) = connection_string(&loads) {
        let live = cloud.books().hub.get(&holds.device_id).cloned();
        assert_eq!(live, Some(holds.key.fingerprint().to_string()), "{harm:?}: it holds what is neither old nor new");
    }

    let button = Button::start(folder.path(), &[&SECOND[..], &[&unit[0], &unit[1]]].concat());
    let line = Line::to(button.port_name(), LineOptions::default(), &serial);
    let run = station.provision_at("texxmo", &batch, &[line.port_name()]).ends().await;
    assert_eq!(run.code, Some(0), "{harm:?}: the same command does not finish:\n{}\n{}", run.stdout, run.stderr);
    let settings = settings_that_a_boot_would_load(&flash).expect("it would boot");
    let holds = connection_string(&settings).unwrap_or_else(|| panic!("{harm:?}: it holds nothing"));
    let books = cloud.books();
    assert_eq!(books.ledger[&serial].state, "confirmed", "{harm:?}");
    assert_eq!(books.hub.get(&holds.device_id), Some(&holds.key.fingerprint().to_string()), "{harm:?}");
    assert!(flash.join("config.json").exists() && !flash.join("config.json.new").exists(), "{harm:?}: something is left over");
}
