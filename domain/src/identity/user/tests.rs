//! The rules of a user, by what was given and what was asked.

use super::*;
use crate::aggregate::testing::given;

fn id() -> UserId {
    UserId::new(Uuid::from_u128(1))
}

fn invited() -> Event {
    let clear = |text: &str| Personal::Clear(text.to_owned());
    UserInvited { user_id: id(), email: clear("a@b.org"), name: clear("Ada") }.into()
}

fn reason() -> Text {
    "left".parse().expect("a text")
}

#[test]
fn a_deactivated_user_never_comes_back() {
    let gone = UserDeactivated { user_id: id(), reason: reason() }.into();
    given::<User>(&[invited(), gone])
        .when(Command::Reactivate)
        .refused(&Refusal::WrongState { state: "deactivated", wanted: "active" });
}

fn erase() -> Command {
    Command::Erase { ground: ErasureGround::Requested, reference: None }
}

#[test]
fn whoever_is_erased_may_nothing_any_more_and_is_erased_once() {
    let asked = given::<User>(&[invited()]).when(erase()).accepted();
    let asked = [vec![invited()], asked].concat();
    given::<User>(&asked).when(erase()).happened(&[]);
    for (command, wanted) in [
        (Command::Activate, "active"),
        (Command::Deactivate { reason: reason() }, "deactivated"),
        (Command::AssignRole { role: "admin".parse().expect("a code") }, "given a role"),
    ] {
        given::<User>(&asked)
            .when(command)
            .refused(&Refusal::WrongState { state: "erasing", wanted });
    }
    let done = given::<User>(&asked).when(Command::FinishErasure).accepted();
    assert_eq!(done, [UserErased { user_id: id() }.into()]);
    let done = [asked, done].concat();
    given::<User>(&done).when(Command::FinishErasure).happened(&[]);
    given::<User>(&[invited()]).when(Command::FinishErasure).refused(&Refusal::NotErasing);
}

#[test]
fn what_is_no_address_is_refused_without_repeating_it() {
    let invite = |email: &str| Command::Invite {
        user_id: id(),
        email: email.to_owned(),
        name: "Ada".to_owned(),
    };
    given::<User>(&[]).when(invite("ada@example")).refused(&Refusal::NotAnAddress);
    assert!(!Refusal::NotAnAddress.to_string().contains("ada"));
}

#[test]
fn suspending_twice_is_one_suspension() {
    let stopped = UserSuspended { user_id: id(), reason: reason() }.into();
    given::<User>(&[invited(), stopped]).when(Command::Suspend { reason: reason() }).happened(&[]);
}

#[test]
fn an_address_is_compared_in_lower_case_and_must_look_like_one() {
    assert_eq!(normal_address(" Ada@Example.ORG ").as_deref(), Some("ada@example.org"));
    for text in ["", "ada", "@b.org", "a@", "a@b", "a b@c.org", "a@.org"] {
        assert_eq!(normal_address(text), None, "{text:?} was taken for an address");
    }
}
