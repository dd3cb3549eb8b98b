//! Pools.

use crate::suite::Suite;
use crate::verdict::Verdict;
use serde_json::Value;

async fn named(suite: &Suite, name: &str) -> Verdict<Vec<Value>> {
    let path = format!("/_apis/distributedtask/pools?poolName={name}&poolType=Automation");
    suite.get(&path).await?.list()
}

pub(super) async fn a_pool_is_found_by_its_name(suite: &Suite) -> Verdict {
    for name in [suite.pool_name.clone(), suite.pool_name.to_uppercase()] {
        let found = named(suite, &name).await?;
        holds!(
            found.len() == 1,
            "{} pools are called {name:?}",
            found.len()
        );
        holds!(
            found
                .iter()
                .all(|pool| pool["id"].as_i64() == Some(suite.pool.0)),
            "the pool {name:?} has another id than before"
        );
    }
    Ok(())
}

pub(super) async fn a_part_of_a_name_finds_nothing(suite: &Suite) -> Verdict {
    let mut part = suite.pool_name.clone();
    part.pop();
    let found = named(suite, &part).await?;
    let ours = |pool: &Value| pool["id"].as_i64() == Some(suite.pool.0);
    holds!(
        !found.iter().any(ours),
        "{part:?} finds {:?}: scalers take more than one hit for an error",
        suite.pool_name
    );
    Ok(())
}

pub(super) async fn a_pool_is_read_by_its_id(suite: &Suite) -> Verdict {
    let pool = suite.get(&suite.in_pool("")).await?.document()?;
    let name = pool["name"].as_str().unwrap_or_default();
    holds!(
        name.eq_ignore_ascii_case(&suite.pool_name),
        "pool {} is called {name:?}",
        suite.pool
    );
    holds!(pool["isHosted"] != true, "the pool is a hosted one");
    Ok(())
}

pub(super) async fn a_pool_that_is_not_there_is_not_found(suite: &Suite) -> Verdict {
    let answer = suite.get("/_apis/distributedtask/pools/2000000000").await?;
    answer.refused(404, "TaskAgentPoolNotFoundException")
}
