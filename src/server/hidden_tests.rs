//! When a database is asked for its functions, and what is made of the answer.

use super::*;

fn found(text: &str) -> Found {
    let mut bodies = Bodies::default();
    bodies.add("f", Calls::Usual, Body::read(Language::Sql, Some(text)));
    Found { hidden: bodies.hidden(&[]), digest: text.into(), is_cut: false }
}

#[test]
fn it_is_asked_first_then_at_intervals_and_after_changes() {
    let state = HiddenState::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let minute = Some(Duration::from_secs(60));
    state.note_change(start);
    assert!(!state.take_due(), "nobody asks here yet");
    state.tick(minute, start);
    assert!(state.take_due() && !state.take_due());
    assert!(state.learn(Learnt::Found(found("set a = 1")), start, at(1)).is_some());
    assert!(state.any() && *state.digest() == *"set a = 1");
    state.tick(minute, at(60));
    assert!(!state.take_due());
    state.tick(minute, at(61));
    assert!(state.take_due());
    assert!(state.learn(Learnt::Same, at(61), at(61)).is_none() && state.any());
    state.note_change(at(62));
    assert!(state.take_due(), "it took next to no time");
    state.note_change(at(63));
    state.tick(minute, at(200));
    assert!(!state.take_due(), "somebody is at it");
    assert!(
        state.learn(Learnt::Found(found("select 1")), at(62), at(64)).is_some() && !state.any()
    );
    state.tick(minute, at(83));
    assert!(!state.take_due(), "it took two seconds");
    state.tick(minute, at(84));
    assert!(state.take_due(), "what changed meanwhile is not forgotten");
    let _ = state.learn(Learnt::Found(found("set a = 1")), at(84), at(84));
    state.tick(minute, at(143));
    assert!(!state.take_due());
    state.tick(None, at(144));
    assert!(!state.any() && !state.take_due());
}

#[test]
fn what_was_not_answered_is_asked_again_soon_and_ever_later() {
    let (state, start) = (HiddenState::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let minute = Some(Duration::from_secs(60));
    let mut now = 0;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        state.tick(minute, at(now));
        assert!(state.take_due());
        assert!(state.learn(Learnt::Nothing, at(now), at(now)).is_none());
        state.tick(minute, at(now + wait - 1));
        assert!(!state.take_due(), "{wait}");
        now += wait;
    }
    state.tick(minute, at(now));
    assert!(state.take_due());
    let _ = state.learn(Learnt::Same, at(now), at(now));
    state.tick(minute, at(now + 59));
    assert!(!state.take_due(), "it was answered");
    // One that takes long waits for its share of the time.
    state.tick(minute, at(now + 60));
    assert!(state.take_due());
    let _ = state.learn(Learnt::Nothing, at(now + 60), at(now + 65));
    state.tick(minute, at(now + 66));
    assert!(!state.take_due());
    state.tick(minute, at(now + 125));
    assert!(state.take_due());
}

#[test]
fn what_was_said_of_a_text_holds_until_functions_change() {
    let state = HiddenState::default();
    let judged = Judged::default();
    assert!(state.judge(&judged, b"select f()").is_none());
    let now = Instant::now();
    let _ = state.learn(Learnt::Found(found("set a = 1")), now, now);
    assert!(state.judge(&judged, b"select f()").is_some());
    let _ = state.learn(Learnt::Found(found("select 1")), now, now);
    assert!(state.judge(&judged, b"select f()").is_none());
}

#[test]
fn rows_that_make_no_sense_are_left_out() {
    let mut bodies = Bodies::default();
    for row in ["", "[]", "[1,2,3,4]", "[\"1\",\"f\",\"sql\"]"] {
        function(row, &mut bodies);
        assert!(link(row).is_none() && number(row).is_none(), "{row}");
    }
    assert!(!bodies.do_anything());
    function("[\"7\",\"f\",\"sql\",null,false]", &mut bodies);
    assert!(bodies.do_anything() && number("[\"7\",\"f\",\"sql\",null,false]") == Some(7));
    let wanted =
        Link { named: Named::Relation("t".into()), by: By::Write(Named::Function("f".into())) };
    assert_eq!(link("[\"t\",true,\"f\",false,true]"), Some(wanted));
}
