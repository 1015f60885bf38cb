//! `qdrs-service serve`: the service, until it is interrupted or told to end.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

use crate::{
    config::{Config, Flags},
    env, serve,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// The address to listen on [QDRS_LISTEN; file: listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The TLS certificate chain, PEM [QDRS_TLS_CERT; file: tls_cert]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM, mode 0600 [QDRS_TLS_KEY; file: tls_key]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let flags = Flags { listen: args.listen, tls_cert: args.tls_cert, tls_key: args.tls_key, ..args.flags };
    let mut running = serve::start(Config::load(&flags, &env::process)?).await?;
    tokio::select! {
        ended = running.wait() => ended?,
        signal = told_to_end() => {
            tracing::info!(signal = signal?, "stopping; requests that run may finish");
            // A second interrupt does not wait for them.
            tokio::select! {
                stopped = running.stop() => stopped?,
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C, or for what a supervisor sends.
pub(super) async fn told_to_end() -> Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "interrupt").map_err(Into::into),
            _ = terminate.recv() => Ok("terminate"),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await?;
        Ok("interrupt")
    }
}
