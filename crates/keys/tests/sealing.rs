//! Sealed keys and callback tokens.

#![allow(clippy::unwrap_used)] // The fixtures below are outside of test functions.

use dayfly_keys::sealing::{SealError, SealHeader, SealingKey, SealingKeys};
use dayfly_wire::ids::AgentId;

const PLAIN: &[u8] = b"a private key";

fn header() -> SealHeader {
    SealHeader {
        agent_id: AgentId(17),
        namespace: "ci".to_owned(),
        name: "linux-abcdefghij".to_owned(),
        pool_uid: "0f1e".to_owned(),
    }
}

fn keys(ids: &[(&str, u8)]) -> SealingKeys {
    let keys = ids
        .iter()
        .map(|(id, byte)| SealingKey::from_bytes(id, &[*byte; 32]).unwrap());
    SealingKeys::new(keys.collect()).unwrap()
}

#[test]
fn what_was_sealed_opens_and_shows_nothing_but_its_header() {
    let blob = keys(&[("one", 1)]).seal(&header(), PLAIN).unwrap();
    let (opened, plain) = keys(&[("one", 1)]).open(&blob).unwrap();
    assert_eq!((opened, plain.as_slice()), (header(), PLAIN));
    let shown: serde_json::Value = serde_json::from_slice(&blob).unwrap();
    let mut members: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(members, ["ciphertext", "header", "kek", "nonce", "v"]);
    assert!(!blob.windows(PLAIN.len()).any(|window| window == PLAIN));
}

#[test]
fn every_edit_of_a_blob_is_noticed() {
    let keys = keys(&[("one", 1)]);
    let blob = keys.seal(&header(), PLAIN).unwrap();
    let edits: [(&str, serde_json::Value); 5] = [
        ("/header/name", "linux-zzzzzzzzzz".into()),
        ("/header/namespace", "prod".into()),
        ("/header/agentId", 18.into()),
        ("/header/poolUid", "0f1f".into()),
        (
            "/ciphertext",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(),
        ),
    ];
    for (pointer, value) in edits {
        let mut edited: serde_json::Value = serde_json::from_slice(&blob).unwrap();
        *edited.pointer_mut(pointer).unwrap() = value;
        let error = keys.open(&serde_json::to_vec(&edited).unwrap()).err();
        assert_eq!(error, Some(SealError::Tampered), "{pointer}");
    }
    assert_eq!(keys.open(b"{}").err(), Some(SealError::Malformed));
}

#[test]
fn after_a_rotation_the_new_key_seals_and_the_old_one_still_opens() {
    let old = keys(&[("one", 1)]).seal(&header(), PLAIN).unwrap();
    let rotated = keys(&[("one", 1), ("two", 2)]);
    assert_eq!(rotated.open(&old).unwrap().1.as_slice(), PLAIN);
    let new = rotated.seal(&header(), PLAIN).unwrap();
    assert_eq!(
        keys(&[("one", 1)]).open(&new).err(),
        Some(SealError::UnknownKey("two".to_owned()))
    );
    assert_eq!(
        keys(&[("two", 3)]).open(&new).err(),
        Some(SealError::Tampered)
    );
}

#[test]
fn a_callback_token_names_one_identity_in_one_pod_and_survives_rotation() {
    let issuing = keys(&[("one", 1)]).callback_keys().unwrap();
    let token = issuing.issue("linux-abc", "uid-1").unwrap();
    let rotated = keys(&[("one", 1), ("two", 2)]).callback_keys().unwrap();
    let callback = rotated.verify(token.expose()).unwrap();
    assert_eq!(
        (callback.identity.as_str(), callback.pod_uid.as_str()),
        ("linux-abc", "uid-1")
    );
    for forged in [
        token.expose().replace("uid-1", "uid-2"),
        token.expose().replace("linux-abc", "linux-abd"),
        token.expose().replace("linux-abc:uid-1", "linux:abc-uid-1"),
        "linux-abc:uid-1:".to_owned(),
        String::new(),
    ] {
        assert_eq!(rotated.verify(&forged), None, "{forged}");
    }
    assert_eq!(
        keys(&[("one", 9)])
            .callback_keys()
            .unwrap()
            .verify(token.expose()),
        None
    );
}
