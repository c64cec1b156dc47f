//! The queue of owed replies against a model of a backend: random scripts, every interleaving.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::owed::{Answer, Cause, Discarded, Done, ErrorVerdict, Owed, Request, Verdict};
use super::owed_model::{Backend, Fate, Message, Reply, Run};
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::server_tag as tag;

/// What is injected has its request's label and this.
const INJECTED: usize = 1 << 20;

/// How the pooler deals with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Forward,
    /// Answers in Postgres' place.
    Fake,
    /// Injects this before it, with this outcome.
    After(Request, Option<Cause>),
    /// Sends what is sure to fail.
    Duplicate,
}

/// A client's request.
type Step = (Message, How);

/// What the client sees: a type, the request it answers where that is known, and the status of a
/// `ReadyForQuery`.
type Seen = (u8, Option<usize>, Option<TransactionStatus>);

/// A pooler that is nothing but the queue, between a script and a backend.
struct Pooler {
    owed: Owed<usize>,
    backend: Backend,
    seen: Vec<Seen>,
    /// What became of all that was noted in the queue.
    ends: BTreeMap<usize, Fate>,
    noted: usize,
}

impl Pooler {
    fn new() -> Self {
        Self {
            owed: Owed::default(),
            backend: Backend::new(),
            seen: Vec::new(),
            ends: BTreeMap::new(),
            noted: 0,
        }
    }

    fn note(&mut self, request: Request, answer: Answer, label: usize) {
        self.noted += 1;
        self.owed.push(request, answer, Some(Box::new(label)), 0);
    }

    fn request(&mut self, label: usize, (message, how): &Step) {
        let request = request_of(message);
        if self.owed.is_skipping() && request != Some(Request::Sync) {
            return;
        }
        let (request, mut sent) = match (request, message) {
            (Some(request), _) => (request, message.clone()),
            (None, Message::CopyData(_)) => {
                self.owed.feed();
                return self.backend.input.push_back((label, message.clone()));
            }
            (None, _) => {
                self.fakes();
                return self.backend.input.push_back((label, message.clone()));
            }
        };
        let mut answer = Answer::Forward;
        match *how {
            How::Forward => {}
            How::Fake => {
                let reply = if request == Request::Parse {
                    tag::PARSE_COMPLETE
                } else {
                    tag::CLOSE_COMPLETE
                };
                return self.note(request, Answer::Fake(reply), label);
            }
            How::After(first, failure) => {
                self.note(first, Answer::Swallow, label + INJECTED);
                self.backend.input.push_back((label + INJECTED, Message::Plain(first, failure)));
            }
            How::Duplicate => {
                answer = Answer::DuplicateStatement;
                sent = Message::Execute(Run::Fails(Cause::Request));
            }
        }
        if request == Request::CopyEnd {
            self.owed.push(request, answer, None, 0);
        } else {
            self.note(request, answer, label);
        }
        self.backend.input.push_back((label, sent));
    }

    fn fakes(&mut self) {
        while let Some(tag) = self.owed.next_fake() {
            self.seen.push((tag, None, None));
        }
    }

    /// Takes one reply, if there is one.
    fn receive(&mut self) -> bool {
        if self.owed.is_ambiguous() {
            // It is closed at the end of the transaction at the latest: nobody else suffers.
            return false;
        }
        let Some(reply) = self.backend.output.pop_front() else { return false };
        self.fakes();
        let answered = match reply.tag {
            tag::ERROR => Ok((self.error(reply), None)),
            tag::READY_FOR_QUERY => self.owed.received_ready(reply.status, 0),
            tag => self.owed.received(tag, 0),
        };
        let (verdict, done) = answered.unwrap();
        if let Some(Done { kept: Some(label), .. }) = done {
            assert_eq!(self.ends.insert(*label, Fate::Done), None, "request {label} ends twice");
        }
        if verdict == Verdict::Forward {
            let status = (reply.tag == tag::READY_FOR_QUERY).then_some(reply.status);
            self.seen.push((reply.tag, Some(reply.label % INJECTED), status));
        } else {
            assert!(reply.label >= INJECTED, "the client's {reply:?} was swallowed");
        }
        true
    }

    fn error(&mut self, reply: Reply) -> Verdict {
        let mut newest = usize::MAX;
        let place = |label: usize| (label % INJECTED) * 2 + usize::from(label < INJECTED);
        let verdict = self.owed.received_error(reply.cause, |label, how| {
            assert!(place(*label) < newest, "{label} is older than what was taken back before it");
            newest = place(*label);
            let fate = match how {
                Discarded::Failed => Fate::Failed,
                Discarded::Skipped => Fate::Skipped,
            };
            assert_eq!(self.ends.insert(*label, fate), None, "request {label} ends twice");
        });
        assert!(matches!(verdict, ErrorVerdict::Forward | ErrorVerdict::DuplicateStatement));
        Verdict::Forward
    }

    /// Free only when the backend is at rest and has nothing to read or say that counts.
    fn check_free(&self) {
        if self.owed.is_free() && !self.owed.is_ambiguous() {
            let inert = |(_, message): &(usize, Message)| {
                request_of(message).is_none_or(|r| r == Request::CopyEnd)
            };
            assert!(self.backend.output.is_empty(), "free, but {:?}", self.backend.output);
            assert!(self.backend.input.iter().all(inert), "free, but {:?}", self.backend.input);
            assert!(self.backend.is_at_rest(), "free, but {:?}", self.backend);
        }
    }
}

fn request_of(message: &Message) -> Option<Request> {
    match message {
        Message::Plain(request, _) => Some(*request),
        Message::Execute(_) => Some(Request::Execute),
        Message::Query(_) => Some(Request::Query),
        Message::CopyDone | Message::CopyFail => Some(Request::CopyEnd),
        Message::Flush | Message::CopyData(_) => None,
    }
}

/// What the client would have sent to Postgres itself.
fn direct((message, how): &Step) -> Message {
    match (message, how) {
        (Message::Plain(request, None), How::After(_, Some(cause))) => {
            Message::Plain(*request, Some(*cause))
        }
        (Message::Plain(request, _), How::Duplicate) => {
            Message::Plain(*request, Some(Cause::Request))
        }
        _ => message.clone(),
    }
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![Just(Cause::Request), Just(Cause::Interrupt)]
}

fn run() -> impl Strategy<Value = Run> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Run::Rows),
        1 => Just(Run::Suspended),
        1 => Just(Run::Empty),
        1 => Just(Run::Begin),
        1 => Just(Run::Commit),
        1 => Just(Run::CopyOut),
        2 => Just(Run::CopyIn),
        1 => cause().prop_map(Run::CopyInto),
        2 => cause().prop_map(Run::Fails),
    ]
}

fn failure() -> impl Strategy<Value = Option<Cause>> {
    prop_oneof![5 => Just(None), 1 => cause().prop_map(Some)]
}

/// A message outside of COPY.
fn step() -> impl Strategy<Value = Step> {
    let plain = prop_oneof![
        Just(Request::Parse),
        Just(Request::Bind),
        Just(Request::Describe),
        Just(Request::Close)
    ];
    let injection = (prop_oneof![Just(Request::Parse), Just(Request::Close)], failure());
    let after = prop_oneof![Just(Request::Bind), Just(Request::Describe)];
    prop_oneof![
        4 => (plain, failure()).prop_map(|(r, f)| (Message::Plain(r, f), How::Forward)),
        2 => prop_oneof![Just(Request::Parse), Just(Request::Close)]
            .prop_map(|r| (Message::Plain(r, None), How::Fake)),
        2 => (after, injection)
            .prop_map(|(r, (i, f))| (Message::Plain(r, None), How::After(i, f))),
        1 => Just((Message::Plain(Request::Parse, None), How::Duplicate)),
        4 => run().prop_map(|run| (Message::Execute(run), How::Forward)),
        2 => vec(run(), 1..4).prop_map(|runs| (Message::Query(runs), How::Forward)),
        1 => failure().prop_map(|f| (Message::Plain(Request::FunctionCall, f), How::Forward)),
        4 => failure().prop_map(|f| (Message::Plain(Request::Sync, f), How::Forward)),
        1 => Just((Message::Flush, How::Forward)),
        1 => prop_oneof![Just(Message::CopyData(true)), Just(Message::CopyDone), Just(Message::CopyFail)]
            .prop_map(|message| (message, How::Forward)),
    ]
}

/// What is sent to a COPY.
fn copy() -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![
        3 => Just(Message::CopyData(true)),
        1 => Just(Message::CopyData(false)),
        1 => Just(Message::Flush),
        1 => Just(Message::Plain(Request::Sync, None)),
    ];
    let end = prop_oneof![3 => Just(Message::CopyDone), 1 => Just(Message::CopyFail)];
    (vec(part, 0..4), end).prop_map(|(mut parts, end)| {
        parts.push(end);
        parts.into_iter().map(|message| (message, How::Forward)).collect()
    })
}

/// Any order of messages, where each COPY gets its data.
fn script() -> impl Strategy<Value = Vec<Step>> {
    vec((step(), vec(copy(), 3)), 0..16).prop_map(|steps| {
        let reads = |run: &Run| matches!(run, Run::CopyIn | Run::CopyInto(_));
        let mut script = Vec::new();
        for (step, copies) in steps {
            let count = match &step.0 {
                Message::Execute(run) => usize::from(reads(run)),
                Message::Query(runs) => runs.iter().filter(|run| reads(run)).count(),
                Message::Plain(..)
                | Message::Flush
                | Message::CopyData(_)
                | Message::CopyDone
                | Message::CopyFail => 0,
            };
            script.push(step);
            script.extend(copies.into_iter().take(count).flatten());
        }
        script
    })
}

/// Runs a script, `order` saying who has the next turn; then all that is left.
fn play(script: &[Step], order: &[u8]) -> Pooler {
    let mut pooler = Pooler::new();
    let mut steps = script.iter().enumerate();
    let rest = std::iter::repeat_n([0, 1, 2, 2], 8 * script.len() + 8).flatten();
    for turn in order.iter().copied().chain(rest) {
        match turn {
            0 => {
                if let Some((label, step)) = steps.next() {
                    pooler.request(label, step);
                }
            }
            1 => drop(pooler.backend.step()),
            _ => drop(pooler.receive()),
        }
        pooler.check_free();
    }
    pooler.fakes();
    pooler
}

/// What the client sees of Postgres itself.
fn expected(script: &[Step]) -> (Backend, Vec<Seen>) {
    let messages: Vec<_> = script.iter().map(direct).collect();
    let mut backend = Backend::all(&messages);
    let seen = backend.output.drain(..).map(|reply| {
        let status = (reply.tag == tag::READY_FOR_QUERY).then_some(reply.status);
        (reply.tag, Some(reply.label), status)
    });
    let seen = seen.collect();
    (backend, seen)
}

fn same(seen: &Seen, expected: &Seen) -> bool {
    seen.0 == expected.0 && seen.2 == expected.2 && (seen.1.is_none() || seen.1 == expected.1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_client_sees_what_postgres_would_have_said(
        script in script(),
        order in vec(0..3_u8, 0..160),
    ) {
        let pooler = play(&script, &order);
        let (backend, wanted) = expected(&script);
        prop_assert!(!backend.is_dead());
        if pooler.owed.is_ambiguous() {
            // Only a Sync that a COPY may have read excuses this.
            let copies = |(m, _): &Step| matches!(m, Message::Execute(Run::CopyIn | Run::CopyInto(_)) | Message::Query(_));
            let from = script.iter().position(copies).unwrap();
            prop_assert!(script[from..].iter().any(|(m, _)| matches!(m, Message::Plain(Request::Sync, _))));
            return Ok(());
        }
        let equal = pooler.seen.len() == wanted.len()
            && pooler.seen.iter().zip(&wanted).all(|(a, b)| same(a, b));
        prop_assert!(equal, "saw {:?}\nwanted {:?}", pooler.seen, wanted);
        prop_assert_eq!(pooler.owed.is_free(), pooler.backend.is_at_rest());
        for (label, end) in &pooler.ends {
            // Nobody but the direct backend knows of what was not sent; the injected is the pooler's.
            let truth = if script.get(*label).is_some_and(|s| s.1 == How::Fake) {
                backend.fates.get(label)
            } else {
                pooler.backend.fates.get(label)
            };
            prop_assert_eq!(truth, Some(end), "request {}", label);
        }
        prop_assert!(pooler.owed.is_quiet());
    }

    #[test]
    fn no_server_makes_it_panic(turns in vec((0..14_u8, any::<u8>()), 0..80)) {
        let mut owed = Owed::default();
        for (turn, byte) in turns {
            hostile(&mut owed, turn, byte);
            prop_assert!(!owed.is_free() || owed.is_quiet());
            prop_assert!(!owed.is_empty() || !owed.is_running());
        }
    }
}

/// A request, or any reply at all.
fn hostile(owed: &mut Owed<u8>, turn: u8, byte: u8) {
    const REQUESTS: [Request; 9] = [
        Request::Query,
        Request::FunctionCall,
        Request::Parse,
        Request::Bind,
        Request::Describe,
        Request::Execute,
        Request::Close,
        Request::Sync,
        Request::CopyEnd,
    ];
    const TAGS: &[u8] = b"123sCDTIntGHWdcVNSAZERKv";
    match turn {
        0..5 => {
            let request = REQUESTS[usize::from(byte) % REQUESTS.len()];
            let (request, answer) = match turn {
                0 | 1 => (request, Answer::Forward),
                2 => (request, Answer::Swallow),
                3 => (Request::Execute, Answer::DuplicateStatement),
                _ => (Request::Parse, Answer::Fake(b'1')),
            };
            if !owed.is_skipping() || request == Request::Sync {
                owed.push(request, answer, Some(Box::new(byte)), 0);
            }
        }
        5 => owed.feed(),
        6 => drop(owed.next_fake()),
        7 => drop(owed.received_ready(TransactionStatus::Idle, 0)),
        8 => drop(owed.received_ready(TransactionStatus::Failed, 0)),
        9 => drop(owed.received_error(Cause::Request, |_, _| ())),
        10 => drop(owed.received_error(Cause::Interrupt, |_, _| ())),
        11 => drop(owed.received(byte, 0)),
        _ => drop(owed.received(TAGS[usize::from(byte) % TAGS.len()], 0)),
    }
}

/// An extended COPY with its Sync, as drivers send it, and Postgres' answer that it reads.
fn copying() -> Owed<u8> {
    let mut owed = Owed::default();
    owed.push(Request::Execute, Answer::Forward, None, 0);
    owed.push(Request::Sync, Answer::Forward, None, 0);
    owed.received(tag::COPY_IN, 0).unwrap();
    owed
}

#[test]
fn a_copy_that_cannot_have_read_anything_leaves_no_doubt() {
    let mut owed = copying();
    owed.received_error(Cause::Request, |_, _| ());
    owed.received_ready(TransactionStatus::Idle, 0).unwrap();
    assert!(owed.is_free() && !owed.is_ambiguous());
}

#[test]
fn a_sync_that_a_failed_copy_did_not_read_is_still_answered() {
    for cause in [Cause::Interrupt, Cause::Request] {
        let mut owed = copying();
        owed.feed();
        owed.received_error(cause, |_, _| ());
        assert!(owed.is_skipping() && owed.is_ambiguous());
        let (verdict, done) = owed.received_ready(TransactionStatus::Idle, 0).unwrap();
        assert_eq!(verdict, Verdict::Forward);
        assert!(done.is_none() && owed.is_free() && owed.is_ambiguous());
    }
}

#[test]
fn what_postgres_says_of_itself_is_passed_on_amid_what_is_ours() {
    let mut owed = Owed::<u8>::default();
    owed.push(Request::Parse, Answer::Swallow, None, 0);
    let verdict = |owed: &mut Owed<u8>, tag| owed.received(tag, 0).unwrap().0;
    assert_eq!(verdict(&mut owed, tag::PARAMETER_STATUS), Verdict::Forward);
    assert_eq!(verdict(&mut owed, tag::NOTIFICATION), Verdict::Forward);
    assert_eq!(verdict(&mut owed, tag::NOTICE), Verdict::Swallow);
    assert_eq!(verdict(&mut owed, tag::PARSE_COMPLETE), Verdict::Swallow);
    owed.push(Request::Query, Answer::Swallow, None, 0);
    assert_eq!(verdict(&mut owed, tag::PARAMETER_STATUS), Verdict::Swallow);
}

#[test]
fn an_error_that_nothing_asked_for_is_the_servers_own() {
    let mut owed = Owed::<u8>::default();
    assert_eq!(owed.received_error(Cause::Interrupt, |_, _| ()), ErrorVerdict::Unsolicited);
    owed.push(Request::Query, Answer::Swallow, None, 0);
    assert_eq!(owed.received_error(Cause::Request, |_, _| ()), ErrorVerdict::OurQuery);
}
