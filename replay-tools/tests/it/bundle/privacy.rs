//! What a bundle of one organization shows of the others: nothing but hashes.

use super::{Signed, verdict};
use crate::world::EMAIL;
use domain::values::OrganizationId;
use std::collections::HashSet;
use std::fs;
use uuid::Uuid;

impl Signed {
    /// The id of an organization.
    pub(crate) async fn organization(&self, slug: &str) -> OrganizationId {
        let sql = format!(
            "select substr(stream, 14) from event_log.log
              where stream like 'organization/%' and stream_version = 1
                and convert_from(payload, 'utf8') like '%\"{slug}\"%'"
        );
        self.server.ask::<String>(&sql).await.parse().unwrap()
    }
}

/// Every part of some length.
fn parts(bytes: &[u8], length: usize) -> HashSet<&[u8]> {
    bytes.windows(length).collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_an_organization_proves_its_own_completeness_and_shows_nothing_of_others() {
    let signed = Signed::start().await;
    let slugs = ["acme", "lone-wolf", "tight", "late"];
    let mut ids = Vec::new();
    for slug in slugs {
        ids.push(signed.organization(slug).await);
    }
    let others =
        "select coalesce(string_agg(encode(event_id::text::bytea || event_hash, 'hex'), ' '
        order by position), '') from event_log.log where tenant <> ";
    for (slug, id) in slugs.iter().zip(&ids) {
        let path = signed.export(slug, &["--organization", slug]);
        let answer = verdict(&signed.verify(&path), 0, "whole");
        let count = format!("select count(*) from event_log.log where tenant = '{}'", id.uuid());
        let count: i64 = signed.server.ask(&count).await;
        assert_eq!(answer["organization_events"], count, "{slug}");
        assert_eq!(answer["events"], count, "{slug}");

        let bundle = fs::read(&path).unwrap();
        assert!(holds(&bundle, id.to_string().as_bytes()), "{slug} does not show itself");
        assert!(!holds(&bundle, EMAIL.as_bytes()), "an address is in the bundle of {slug}");
        for (other, other_id) in slugs.iter().zip(&ids).filter(|(other, _)| *other != slug) {
            let uuid = other_id.uuid();
            let forms = [
                other.as_bytes().to_vec(),
                other_id.to_string().into_bytes(),
                uuid.as_bytes().to_vec(),
                uuid.to_string().into_bytes(),
                uuid.simple().to_string().into_bytes(),
            ];
            for form in forms {
                assert!(!holds(&bundle, &form), "{other} is in the bundle of {slug}: {form:?}");
            }
        }
        // Neither an id nor a hash of any event of anybody else.
        let foreign: String = signed.server.ask(&format!("{others}'{}'", id.uuid())).await;
        let (ids_in_it, hashes_in_it) = (parts(&bundle, 16), parts(&bundle, 32));
        let mut looked = 0;
        for event in foreign.split(' ') {
            let event = data_encoding::HEXLOWER.decode(event.as_bytes()).unwrap();
            let event_id: Uuid = std::str::from_utf8(&event[..36]).unwrap().parse().unwrap();
            assert!(!ids_in_it.contains(event_id.as_bytes().as_slice()), "{event_id} in {slug}");
            assert!(!hashes_in_it.contains(&event[36..]), "the hash of {event_id} in {slug}");
            looked += 1;
        }
        assert!(looked > 50, "hardly anything was looked for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_organizations_history_is_proved_between_its_neighbours() {
    let signed = Signed::start().await;
    let id = signed.organization("acme").await.uuid();
    let nth = |offset: i64| {
        format!(
            "select position from event_log.log where tenant = '{id}' order by position
                  offset {offset} limit 1"
        )
    };
    let (from, to): (i64, i64) =
        (signed.server.ask(&nth(20)).await, signed.server.ask(&nth(60)).await);
    let (from, to) = (from.to_string(), to.to_string());
    let range = ["--organization", "acme", "--from", &from, "--to", &to];
    let answer = verdict(&signed.verify(&signed.export("part", &range)), 0, "whole");
    assert_eq!(answer["events"], 41);
    let bare = [&range[..], &["--no-bodies"]].concat();
    let answer = verdict(&signed.verify(&signed.export("bare", &bare)), 0, "whole");
    assert_eq!(answer["events"], 41);
}
