//! The program: parse arguments, load the configuration, run, exit code.

use std::process::ExitCode;

use pooler::app::{App, Source};
use pooler::cli::{self, Command, EXIT_FAULTY_CONFIG};
use pooler::config::Config;
use pooler::logging;

/// Small allocations by many clients on few threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment = cli::environment();
    match cli::parse() {
        Command::Check { config } => cli::check(
            config.as_deref(),
            &environment,
            &mut std::io::stdout(),
            &mut std::io::stderr(),
        ),
        Command::Token { name, role } => {
            cli::token(&name, role, &mut std::io::stdout(), &mut std::io::stderr())
        }
        Command::Top(options) => pooler::top::run(&options),
        Command::Fingerprint => cli::fingerprint(&mut std::io::stdin(), &mut std::io::stdout()),
        Command::Run { config } => run(Source { file: config, environment }),
    }
}

fn run(source: Source) -> ExitCode {
    let config = match Config::load(source.file.as_deref(), &source.environment) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(EXIT_FAULTY_CONFIG);
        }
    };
    logging::start(&config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    let ran = runtime.block_on(async {
        let app = App::build(config, source).await?;
        app.run().await
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
