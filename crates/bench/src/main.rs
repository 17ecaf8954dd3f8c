//! `make bench`.

use bench::options::Options;
use clap::Parser as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.do_nothing {
        return bench::nothing::serve().await;
    }
    bench::run::run(options).await
}
