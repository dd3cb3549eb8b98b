//! The scenarios, in the order of the protocol's parts.

mod agents;
mod challenges;
mod discovery;
mod errors;
mod events;
mod feed;
mod logs;
mod messages;
mod plans;
mod pools;
mod requests;
mod sessions;
mod tokens;
mod versions;

use crate::suite::Suite;
use crate::verdict::Verdict;
use futures::future::BoxFuture;

/// Something that clients expect of a service.
pub struct Scenario {
    /// The part of the protocol.
    pub part: &'static str,
    /// What it is about.
    pub name: &'static str,
    pub(crate) run: for<'a> fn(&'a Suite) -> BoxFuture<'a, Verdict>,
}

macro_rules! scenarios {
    ($($part:ident: $($name:ident)*;)*) => {
        vec![$($(Scenario {
            part: stringify!($part),
            name: stringify!($name),
            run: |suite| Box::pin($part::$name(suite)),
        },)*)*]
    };
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    scenarios! {
        discovery: connection_data_names_the_instance connection_data_lists_what_agents_look_up
            paths_are_read_in_any_case options_lists_every_resource
            options_of_an_area_lists_that_area resource_areas_is_a_list;
        versions: reading_needs_no_version a_version_is_taken_wherever_clients_put_it
            a_preview_version_is_taken;
        challenges: nobody_is_asked_for_a_credential a_wrong_token_is_not_told_from_none
            the_user_beside_a_token_does_not_matter;
        pools: a_pool_is_found_by_its_name a_part_of_a_name_finds_nothing
            a_pool_is_read_by_its_id a_pool_that_is_not_there_is_not_found;
        agents: a_registration_gets_a_client_id_and_a_token_url
            an_agent_is_found_by_its_name capabilities_come_when_asked_for
            a_second_agent_of_the_name_is_refused an_agent_is_disabled_and_enabled
            user_capabilities_are_replaced a_replaced_agent_keeps_its_id
            a_deleted_agent_is_gone;
        tokens: an_assertion_gets_a_token another_key_gets_none another_audience_gets_none
            an_old_assertion_is_told_the_time a_deleted_agent_gets_none
            a_listen_token_registers_nobody;
        sessions: a_session_opens_with_a_key_for_the_agent a_second_session_is_refused
            an_agent_is_online_while_its_session_is_open a_closed_session_is_over
            a_session_for_another_agent_is_refused;
        messages: no_message_is_an_empty_answer a_job_comes_to_a_parked_question
            a_job_message_has_what_agents_read a_message_stays_until_it_is_acknowledged
            two_questions_at_once_get_the_same_message a_cancellation_comes_to_the_agent;
        requests: the_lists_of_scalers_are_served a_queued_job_is_seen_in_the_list
            a_renewed_lock_holds_for_minutes a_job_that_nobody_can_take_fails_at_once
            an_administrator_ends_a_job;
        plans: the_timeline_has_the_jobs_record a_patch_leaves_what_it_does_not_name
            another_plan_is_refused;
        feed: lines_are_taken_without_an_answer;
        logs: a_log_is_made_appended_and_read a_range_of_lines_is_read;
        events: the_end_of_a_job_is_its_result a_token_ends_with_its_job
            an_unknown_event_is_let_pass;
        errors: a_refusal_has_the_members_that_clients_read an_unknown_path_is_not_found
            what_is_no_json_is_refused;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_scenario_is_described() {
        let page = include_str!("../../docs/pool/conformance.md");
        for scenario in super::all() {
            assert!(
                page.contains(&format!("`{}`", scenario.name)),
                "{}",
                scenario.name
            );
        }
    }
}
