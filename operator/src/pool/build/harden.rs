//! Security contexts: restricted unless the template, within its profile, says otherwise.

use crate::crd::security::Profile;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

/// The user and group of both containers.
pub const DAYFLY_ID: i64 = 10001;
/// The user that installs the program for foreign images: the job must not be able to change it.
pub const INSTALLER_ID: i64 = 10002;

/// Fills the pod's security context.
pub fn harden_pod(spec: &mut PodSpec, profile: Profile) {
    let context = spec
        .security_context
        .get_or_insert_with(PodSecurityContext::default);
    context.run_as_user.get_or_insert(DAYFLY_ID);
    context.run_as_group.get_or_insert(DAYFLY_ID);
    context.fs_group.get_or_insert(DAYFLY_ID);
    context
        .fs_group_change_policy
        .get_or_insert_with(|| "OnRootMismatch".to_owned());
    context.seccomp_profile.get_or_insert_with(runtime_default);
    if profile == Profile::Restricted {
        context.run_as_non_root.get_or_insert(true);
    }
}

/// Fills a container's security context.
pub fn harden_container(container: &mut Container, profile: Profile) {
    let context = container
        .security_context
        .get_or_insert_with(SecurityContext::default);
    if profile == Profile::Restricted {
        context.allow_privilege_escalation.get_or_insert(false);
        context.capabilities.get_or_insert_with(drop_all);
    }
}

/// The agent's own context, which nothing loosens: it holds the identity.
pub fn harden_agent(container: &mut Container) {
    container.security_context = Some(SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(drop_all()),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    });
}

/// The installer's context.
pub fn harden_installer(container: &mut Container) {
    harden_agent(container);
    if let Some(context) = &mut container.security_context {
        context.run_as_user = Some(INSTALLER_ID);
    }
}

fn drop_all() -> Capabilities {
    Capabilities {
        drop: Some(vec!["ALL".to_owned()]),
        ..Capabilities::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        ..SeccompProfile::default()
    }
}
