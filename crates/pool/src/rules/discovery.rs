//! What the service offers, by the location ids that clients have compiled in.

use super::version::parse_number;
use dayfly_wire::discovery::{
    ConnectionData, LocationServiceData, ResourceLocation, ServiceDefinition,
};
use uuid::{Uuid, uuid};

/// A resource: area, name, id, route, released version, resource version, smallest version.
struct Location(
    &'static str,
    &'static str,
    Uuid,
    &'static str,
    &'static str,
    i64,
    &'static str,
);

const TASKS: &str = "distributedtask";
const PLAN: &str = "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}";

#[rustfmt::skip]
const LOCATIONS: [Location; 38] = [
    Location(TASKS, "pools", uuid!("a8c47e17-4d56-4a56-92bb-de7ea7dc65be"), "_apis/{area}/{resource}/{poolId}", "7.1", 1, "1.0"),
    Location(TASKS, "agents", uuid!("e298ef32-5878-4cab-993c-043836571f42"), "_apis/{area}/pools/{poolId}/{resource}/{agentId}", "7.1", 1, "1.0"),
    Location(TASKS, "usercapabilities", uuid!("30ba3ada-fedf-4da8-bbb5-dacf2f82e176"), "_apis/{area}/pools/{poolId}/agents/{agentId}/{resource}", "7.1", 1, "1.0"),
    Location(TASKS, "updates", uuid!("8cc1b02b-ae49-4516-b5ad-4f9b29967c30"), "_apis/{area}/pools/{poolId}/agents/{agentId}/{resource}", "0.0", 1, "3.2"),
    Location(TASKS, "sessions", uuid!("134e239e-2df3-4794-a6f6-24f1f19ec8dc"), "_apis/{area}/pools/{poolId}/{resource}/{sessionId}", "7.1", 1, "1.0"),
    Location(TASKS, "messages", uuid!("c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7"), "_apis/{area}/pools/{poolId}/{resource}/{messageId}", "7.1", 1, "1.0"),
    Location(TASKS, "jobrequests", uuid!("fc825784-c92a-4299-9221-998a02d1b54f"), "_apis/{area}/pools/{poolId}/{resource}/{requestId}", "7.1", 1, "1.0"),
    Location(TASKS, "agentrequests", uuid!("f5f81ffb-f396-498d-85b1-5ada145e648a"), "{project}/_apis/{area}/queues/{queueId}/{resource}/{requestId}", "0.0", 1, "4.1"),
    Location(TASKS, "queues", uuid!("900fa995-c559-4923-aae7-f8424fe4fbea"), "{project}/_apis/{area}/{resource}/{queueId}", "7.1", 1, "2.0"),
    Location(TASKS, "poolmetadata", uuid!("0d62f887-9f53-48b9-9161-4c35d5735b0f"), "_apis/{area}/pools/{poolId}/{resource}", "0.0", 1, "4.1"),
    Location(TASKS, "poolpermissions", uuid!("162778f3-4b48-48f3-9d58-436fb9c407bc"), "_apis/{area}/pools/{poolId}/permissions/{permissions}", "7.1", 1, "1.0"),
    Location(TASKS, "packages", uuid!("8ffcd551-079c-493a-9c02-54346299d144"), "_apis/{area}/{resource}/{packageType}/{platform}/{version}", "7.1", 2, "1.0"),
    Location(TASKS, "tasks", uuid!("60aac929-f0cd-4bc8-9ce4-6b30e8f1b1bd"), "_apis/{area}/{resource}/{taskId}/{versionString}", "7.1", 1, "1.0"),
    Location(TASKS, "plans", uuid!("5cecd946-d704-471e-a45f-3b4064fcfaba"), "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/{resource}/{planId}", "7.1", 2, "2.0"),
    Location(TASKS, "events", uuid!("557624af-b29e-4c20-8ab0-0399d2204f3f"), "{plan}/{resource}", "7.1", 1, "2.0"),
    Location(TASKS, "timelines", uuid!("83597576-cc2c-453c-bea6-2882ae6a1653"), "{plan}/{resource}/{timelineId}", "7.1", 2, "2.0"),
    Location(TASKS, "records", uuid!("8893bc5b-35b2-4be7-83cb-99e683551db4"), "{plan}/timelines/{timelineId}/{resource}/{recordId}", "7.1", 2, "2.0"),
    Location(TASKS, "feed", uuid!("858983e4-19bd-4c5e-864c-507b59b58b12"), "{plan}/timelines/{timelineId}/records/{recordId}/{resource}", "7.1", 1, "2.0"),
    Location(TASKS, "attachments", uuid!("7898f959-9cdf-4096-b29e-7f293031629e"), "{plan}/timelines/{timelineId}/records/{recordId}/{resource}/{type}/{name}", "7.1", 1, "2.1"),
    Location(TASKS, "attachments", uuid!("eb55e5d6-2f30-4295-b5ed-38da50b1fc52"), "{plan}/{resource}/{type}", "7.1", 1, "2.1"),
    Location(TASKS, "logs", uuid!("46f5667d-263a-4684-91b1-dff7fdcf64e2"), "{plan}/{resource}/{logId}", "7.1", 1, "2.0"),
    Location(TASKS, "oidctoken", uuid!("69a319f4-28c1-4bfd-93e6-ea0ff5c6f1a2"), "{plan}/jobs/{jobId}/{resource}", "7.1", 1, "7.1"),
    Location(TASKS, "jobinstances", uuid!("0a1efd25-abda-43bd-9629-6c7bdd2e0d60"), "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/{resource}/{orchestrationId}", "0.0", 1, "5.0"),
    Location(TASKS, "elasticpools", uuid!("dd3c938f-835b-4971-b99a-db75a47aad43"), "_apis/{area}/{resource}/{poolId}", "7.1", 1, "6.1"),
    Location(TASKS, "resourceusage", uuid!("eae1d376-a8b1-4475-9041-1dfdbe8f0143"), "_apis/{area}/{resource}", "0.0", 2, "4.1"),
    Location(TASKS, "securefiles", uuid!("adcfd8bc-b184-43ba-bd84-7c8c6a2ff421"), "{project}/_apis/{area}/{resource}/{secureFileId}", "0.0", 1, "3.2"),
    Location("FeatureAvailability", "FeatureFlags", uuid!("3e2b80f8-9e6f-441e-8393-005610692d9c"), "_apis/{resource}/{name}", "0.0", 1, "1.0"),
    Location("CustomerIntelligence", "Events", uuid!("b5cc35c2-ff2b-491d-a085-24b6e9f396fd"), "_apis/{area}/{resource}", "0.0", 1, "2.0"),
    Location("Location", "ConnectionData", uuid!("00d9565f-ed9c-4a06-9a50-00e7896ccab4"), "_apis/{resource}", "0.0", 1, "1.0"),
    Location("Location", "ResourceAreas", uuid!("e81700f7-3be2-46de-8624-2eb35882fcaa"), "_apis/{resource}/{areaId}", "0.0", 1, "3.2"),
    Location("build", "artifacts", uuid!("1db06c96-014e-44e1-ac91-90b2d4b3e984"), "{project}/_apis/{area}/builds/{buildId}/{resource}", "7.1", 5, "2.0"),
    Location("Container", "Containers", uuid!("e4f5c81e-e250-447b-9fef-bd48471bea5e"), "_apis/resources/{resource}/{containerId}/{*itemPath}", "0.0", 4, "1.0"),
    Location("git", "repositories", uuid!("225f7195-f9c7-4d14-ab28-a83f7ff77e1f"), "{project}/_apis/{area}/{resource}/{repositoryId}", "7.1", 1, "1.0"),
    Location("Build", "Builds", uuid!("0cd358e1-9217-4d94-8269-1c1ee6f93dcf"), "{project}/_apis/build/{resource}/{buildId}", "7.1", 7, "1.0"),
    Location("Build", "Definitions", uuid!("dbeaf647-6167-421a-bda9-c9327b25e2e6"), "{project}/_apis/build/{resource}/{definitionId}", "7.1", 7, "1.0"),
    Location("build", "logs", uuid!("35a80daf-7f30-45fc-86e8-6b813d9c90df"), "{project}/_apis/{area}/builds/{buildId}/{resource}/{logId}", "7.1", 2, "2.0"),
    Location("build", "Timeline", uuid!("8baac422-4c6e-4de5-8532-db96d92acffa"), "{project}/_apis/{area}/builds/{buildId}/{resource}/{timelineId}", "7.1", 3, "2.0"),
    Location("core", "projects", uuid!("603fe2ac-9723-48b9-88ad-09305aa6c6e1"), "_apis/{resource}/{*projectId}", "7.1", 4, "1.0"),
];

const MAX_VERSION: &str = "7.2";

impl Location {
    fn template(&self) -> String {
        self.3.replace("{plan}", PLAN)
    }
}

/// The answer of connectionData. It names no user: one that changed between two calls would be an error for .NET
/// clients. Nor a service owner: without one, clients use this URL and these locations for everything.
pub fn connection_data(instance: Uuid, with_services: bool) -> ConnectionData {
    let definitions = LOCATIONS.iter().map(|location| ServiceDefinition {
        service_type: location.0.to_owned(),
        identifier: location.2,
        display_name: location.1.to_owned(),
        relative_to_setting: "fullyQualified".to_owned(),
        relative_path: format!("/{}", location.template()),
        resource_version: location.5,
        min_version: location.6.to_owned(),
        max_version: MAX_VERSION.to_owned(),
        released_version: location.4.to_owned(),
    });
    ConnectionData {
        instance_id: instance,
        deployment_id: instance,
        deployment_type: "onPremises".to_owned(),
        location_service_data: LocationServiceData {
            last_change_id: 1,
            last_change_id64: 1,
            client_cache_fresh: false,
            client_cache_time_to_live: 3600,
            service_definitions: if with_services {
                definitions.collect()
            } else {
                Vec::new()
            },
        },
        authenticated_user: None,
    }
}

/// The answer of `OPTIONS _apis`, or of `OPTIONS _apis/{area}`.
pub fn resource_locations(area: Option<&str>) -> Vec<ResourceLocation> {
    LOCATIONS
        .iter()
        .filter(|location| area.is_none_or(|area| location.0.eq_ignore_ascii_case(area)))
        .map(|location| ResourceLocation {
            id: location.2,
            area: location.0.to_owned(),
            resource_name: location.1.to_owned(),
            route_template: location.template(),
            resource_version: location.5,
            min_version: location.6.to_owned(),
            max_version: MAX_VERSION.to_owned(),
            released_version: location.4.to_owned(),
        })
        .collect()
}

/// The newest version of a path's resource that is no preview; none for a path that is of no resource here.
pub fn released(path: &str) -> Option<(u32, u32)> {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let found = LOCATIONS.iter().find(|location| location.has(&segments))?;
    parse_number(found.4)
}

impl Location {
    /// Whether a path is one of this location's; parameters at its end may be left out.
    fn has(&self, path: &[&str]) -> bool {
        let template = self.template();
        let mut path = path.iter();
        for part in template.split('/') {
            let literal = match part {
                "{area}" => Some(self.0),
                "{resource}" => Some(self.1),
                _ if part.starts_with("{*") => return true,
                _ if part.starts_with('{') => None,
                literal => Some(literal),
            };
            match (literal, path.next()) {
                (Some(literal), Some(given)) if given.eq_ignore_ascii_case(literal) => {}
                (None, _) => {}
                (Some(_), _) => return false,
            }
        }
        path.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_location_is_there_once_with_a_version_that_counts() {
        let all = resource_locations(None);
        let ids: BTreeSet<_> = all.iter().map(|location| location.id).collect();
        assert_eq!(ids.len(), all.len());
        assert!(all.iter().all(|location| location.resource_version > 0));
        assert!(
            all.iter()
                .all(|location| !location.route_template.contains("{plan}"))
        );
        assert_eq!(resource_locations(Some("DistributedTask")).len(), 26);
        assert!(resource_locations(Some("nothing")).is_empty());
    }

    #[test]
    fn a_path_is_found_with_and_without_what_comes_last() {
        let plan = "/demo/_apis/distributedtask/hubs/build/plans/1";
        for (path, expected) in [
            ("/_apis/distributedtask/pools", Some((7, 1))),
            ("/_apis/distributedtask/Pools/1/agents/2", Some((7, 1))),
            ("/_apis/connectiondata", Some((0, 0))),
            ("/_apis/resources/containers/1/drop/a.txt", Some((0, 0))),
            (&format!("{plan}/logs/1"), Some((7, 1))),
            (&format!("{plan}/logs/1/2"), None),
            ("/demo/_git/repository", None),
            ("/demo/_apis/dayfly/jobs", None),
        ] {
            assert_eq!(released(path), expected, "{path}");
        }
    }

    #[test]
    fn services_are_listed_when_asked_for() {
        let instance = Uuid::from_u128(1);
        let listed = |with| {
            connection_data(instance, with)
                .location_service_data
                .service_definitions
                .len()
        };
        assert_eq!((listed(false), listed(true)), (0, 38));
    }
}
