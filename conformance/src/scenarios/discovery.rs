//! Discovery: how clients learn where everything is.

use crate::suite::Suite;
use crate::verdict::Verdict;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What an agent looks up by id: without one of them its client refuses to go on.
const NEEDED: [(&str, &str); 12] = [
    ("pools", "a8c47e17-4d56-4a56-92bb-de7ea7dc65be"),
    ("agents", "e298ef32-5878-4cab-993c-043836571f42"),
    ("sessions", "134e239e-2df3-4794-a6f6-24f1f19ec8dc"),
    ("messages", "c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7"),
    ("jobrequests", "fc825784-c92a-4299-9221-998a02d1b54f"),
    ("plans", "5cecd946-d704-471e-a45f-3b4064fcfaba"),
    ("events", "557624af-b29e-4c20-8ab0-0399d2204f3f"),
    ("timelines", "83597576-cc2c-453c-bea6-2882ae6a1653"),
    ("records", "8893bc5b-35b2-4be7-83cb-99e683551db4"),
    ("feed", "858983e4-19bd-4c5e-864c-507b59b58b12"),
    ("logs", "46f5667d-263a-4684-91b1-dff7fdcf64e2"),
    ("tasks", "60aac929-f0cd-4bc8-9ce4-6b30e8f1b1bd"),
];
/// The owner of an installation on premises; with it, or with none, clients stay with the URL that they have.
const ON_PREMISES: &str = "87966eaa-cb2a-443f-be3c-47bd3b5bf3cb";

async fn connection_data(suite: &Suite, options: u8) -> Verdict<Value> {
    let query = format!("?connectOptions={options}&lastChangeId=-1&lastChangeId64=-1");
    let path = format!("/_apis/connectionData{query}");
    suite.get(&path).await?.document()
}

pub(super) async fn connection_data_names_the_instance(suite: &Suite) -> Verdict {
    let first = connection_data(suite, 0).await?;
    let second = connection_data(suite, 0).await?;
    let id = first["instanceId"].as_str().unwrap_or_default();
    holds!(
        id.parse::<Uuid>().is_ok_and(|id| !id.is_nil()),
        "instanceId is {id:?}, and no GUID"
    );
    holds!(
        first["instanceId"] == second["instanceId"],
        "instanceId changes: clients keep what they learnt under it"
    );
    let user = |document: &Value| document["authenticatedUser"]["descriptor"].clone();
    holds!(
        user(&first) == user(&second),
        "authenticatedUser.descriptor changes between two calls"
    );
    Ok(())
}

pub(super) async fn connection_data_lists_what_agents_look_up(suite: &Suite) -> Verdict {
    let document = connection_data(suite, 1).await?;
    let services = &document["locationServiceData"];
    let owner = services["serviceOwner"].as_str().unwrap_or_default();
    if !(owner.is_empty() || owner == ON_PREMISES || owner == Uuid::nil().to_string()) {
        let reason = "the service sends clients elsewhere for its locations";
        return Err(crate::Stop::Skipped(reason.to_owned()));
    }
    let definitions = services["serviceDefinitions"].as_array();
    let counts = |definition: &&Value| definition["resourceVersion"].as_i64() > Some(0);
    let known: BTreeSet<&str> = definitions
        .into_iter()
        .flatten()
        .filter(counts)
        .filter_map(|definition| definition["identifier"].as_str())
        .collect();
    for (name, id) in NEEDED {
        holds!(known.contains(id), "no service definition {id} ({name})");
    }
    let moniker = &services["defaultAccessMappingMoniker"];
    if let Some(mappings) = services["accessMappings"]
        .as_array()
        .filter(|list| !list.is_empty())
    {
        holds!(
            mappings
                .iter()
                .any(|mapping| mapping["moniker"] == *moniker),
            "defaultAccessMappingMoniker names none of the access mappings"
        );
    }
    Ok(())
}

pub(super) async fn paths_are_read_in_any_case(suite: &Suite) -> Verdict {
    suite
        .get("/_APIS/ConnectionDATA?connectOptions=0")
        .await?
        .document()?;
    let pools = suite.get("/_apis/DistributedTask/POOLS").await?;
    pools.list().map(|_| ())
}

async fn options(suite: &Suite, path: &str) -> Verdict<Vec<Value>> {
    suite.ask(Method::OPTIONS, path).send().await?.list()
}

pub(super) async fn options_lists_every_resource(suite: &Suite) -> Verdict {
    let all = options(suite, "/_apis").await?;
    for (name, id) in NEEDED {
        let found = all.iter().find(|location| location["id"] == id);
        let Some(location) = found else {
            return Err(crate::verdict::differs(format!(
                "no location {id} ({name}), in lower case"
            )));
        };
        for version in ["minVersion", "maxVersion", "releasedVersion"] {
            let text = location[version].as_str().unwrap_or_default();
            let parts: Vec<_> = text.split('.').map(str::parse::<u32>).collect();
            holds!(
                parts.len() == 2 && parts.iter().all(Result::is_ok),
                "{name}: {version} is {}, and not a text such as \"7.1\"",
                location[version]
            );
        }
        let template = location["routeTemplate"].as_str().unwrap_or_default();
        holds!(
            template.contains("{resource}") || template.to_lowercase().contains(name),
            "{name}: the route template {template:?} does not lead there"
        );
    }
    Ok(())
}

pub(super) async fn options_of_an_area_lists_that_area(suite: &Suite) -> Verdict {
    let listed = options(suite, "/_apis/distributedtask").await?;
    holds!(
        !listed.is_empty(),
        "the area distributedtask has no location"
    );
    let area = |location: &Value| location["area"].as_str().unwrap_or_default().to_lowercase();
    let strange = listed
        .iter()
        .find(|location| area(location) != "distributedtask");
    holds!(strange.is_none(), "a location of another area: {strange:?}");
    Ok(())
}

pub(super) async fn resource_areas_is_a_list(suite: &Suite) -> Verdict {
    for area in suite.get("/_apis/ResourceAreas").await?.list()? {
        let complete = ["id", "name", "locationUrl"]
            .iter()
            .all(|name| area[name].is_string());
        holds!(
            complete,
            "a resource area without id, name or locationUrl: {area}"
        );
    }
    Ok(())
}
