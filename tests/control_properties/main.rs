//! The invariant: whatever is heard, lost, commanded or waited for, the sum of offers never passes what the last good
//! knowledge allows.
//!
//! Each case is a random installation and a random history. Beside the controller runs `knowledge`, a bookkeeper that
//! shares no code with it: it sees the same readings and the true state of every box, and says after every step what
//! may stand there. See `knowledge.rs` for the rules, each with its number.

mod knowledge;
#[path = "../fail_safe_defaults/site.rs"]
#[allow(dead_code, reason = "each of the tests that share it uses a part")]
mod site;
mod world;

use proptest::prelude::*;

use world::{World, installation, op};

/// Two thousand cases, or more where `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(2_000), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_sum_of_offers_never_passes_what_the_last_good_knowledge_allows(
        installation in installation(),
        history in prop::collection::vec(op(), 1..90),
    ) {
        let mut world = World::new(&installation);
        for op in &history {
            world.live(op).map_err(TestCaseError::fail)?;
        }
    }
}
