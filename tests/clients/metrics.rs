//! What Prometheus reads: its own parsers take every line, in both formats.

use super::support::{Scenario, postgres_program};
use super::{Command, load, python, run};

#[test]
fn prometheus_reads_the_metrics_in_both_formats() {
    let scenario = Scenario::new().pool_size(1).set("metrics.fingerprints", 3);
    let world = scenario.set("timeouts.query_wait_timeout", "200ms").start();
    load(&world);
    let mut command = Command::new(postgres_program("pgbench"));
    run(&world, command.args(["--no-vacuum", "--transactions=50"]));
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    assert_eq!(waiting.run(&super::support::query("SELECT 1")).error().sqlstate, "53300");
    holder.query("COMMIT");
    let address = format!("http://{}", world.pooler.admin().address());
    run(&world, python("python/metrics_client.py").env("ADMIN", address));
}
