//! `qdrs`: parses the command line, settles the settings, runs one command, and turns its outcome into an exit code.

use std::{
    io::IsTerminal as _,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use qdrs_cli::{
    command::{self, Cli, Command},
    env,
    failure::Failure,
    interrupt::Interrupt,
    outcome::Outcome,
    printer::Printer,
    settings::{Folders, Settings},
};
use qdrs_core::api::Code;

/// How long threads that nobody waits for (a hanging key store) may take to end.
const END_MAX: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(say_that_it_is_our_fault));
    // Before anything builds a TLS client; the only provider that is compiled in.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let cli = Cli::parse();
    start_logging(&cli);
    let printer = Printer { json: cli.flags.json, quiet: cli.flags.quiet };
    let ended = catch_unwind(AssertUnwindSafe(|| work(cli, printer)));
    match ended {
        Ok(Ok(outcome)) => outcome.into(),
        Ok(Err(failure)) => {
            printer.failure(&failure);
            failure.outcome().into()
        }
        // The hook has said what there is to say.
        Err(_) => Outcome::Fault.into(),
    }
}

fn work(cli: Cli, printer: Printer) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Code::Internal, format!("the system gives no threads: {error}")))?;
    let ended = runtime.block_on(run(cli, printer));
    runtime.shutdown_timeout(END_MAX);
    ended
}

async fn run(cli: Cli, printer: Printer) -> Result<Outcome, Failure> {
    let Cli { flags, command } = cli;
    // These need no settings, and must work where the settings are wrong.
    match &command {
        Command::Completions(args) => return command::completions::run(args),
        Command::Man(args) => return command::man::run(args),
        Command::Ports(args) => return command::ports::run(args, printer),
        _ => {}
    }
    let mut settings = Settings::resolve(&flags, &env::of_process, &Folders::of_user())?;
    if !matches!(command, Command::Setup(_)) {
        settings.require_named_config()?;
    }
    let interrupt = Interrupt::listen(printer);
    match command {
        Command::Setup(args) => interrupt.or(command::setup::run(args, &mut settings, printer)).await,
        // It finishes what is in hand.
        Command::Provision(args) => command::provision::run(args, &mut settings, printer, &interrupt).await,
        Command::Check(args) => interrupt.or(command::check::run(args, &mut settings, printer)).await,
        Command::Register(args) => interrupt.or(command::register::run(args, &mut settings, printer)).await,
        Command::Release(args) => interrupt.or(command::release::run(&args, &mut settings, printer)).await,
        Command::Status(args) => interrupt.or(command::status::run(&args, &mut settings, printer)).await,
        Command::Report(args) => command::report::run(&args, &settings, printer),
        Command::Config(args) => command::config::run(&args, &settings, printer),
        Command::Completions(args) => command::completions::run(&args),
        Command::Man(args) => command::man::run(&args),
        Command::Ports(args) => command::ports::run(&args, printer),
    }
}

/// Logs go to stderr; by default only what `QDRS_LOG` or `-v` ask for.
fn start_logging(cli: &Cli) {
    let by_flags = match cli.flags.verbose {
        0 => "off",
        1 => "qdrs=info,qdrs_cli=info,qdrs_core=info,qdrs_service=info",
        _ => "qdrs=debug,qdrs_cli=debug,qdrs_core=debug,qdrs_service=debug",
    };
    let asked = env::of_process(env::LOG.name).and_then(|text| text.into_string().ok()).unwrap_or_else(|| by_flags.to_owned());
    let filter = tracing_subscriber::EnvFilter::new(asked);
    // A file is no place for colours.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}

/// A panic is never the user's doing.
fn say_that_it_is_our_fault(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no words");
    let failure = Failure::with_help(
        Code::Internal,
        format!("this is a fault in QDRS: {text}"),
        format!(
            "nothing that was done is lost; report it with the command and the version ({})",
            concat!("qdrs ", env!("CARGO_PKG_VERSION"))
        ),
    );
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    Printer { json: false, quiet: false }.failure(&failure.at(place));
}
