//! Tests of tags: the forms that are seen, what is broken, where comments stand.

use super::*;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn pairs(comment: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    each(comment.as_bytes(), |key, value| found.push((key.to_owned(), value)));
    found
}

#[track_caller]
fn check(comment: &str, expected: &[(&str, &str)]) {
    let expected = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    assert_eq!(pairs(comment), expected.collect::<Vec<_>>(), "{comment}");
}

fn tags(sql: &str) -> Tags {
    let edges = Edges::of(sql.as_bytes());
    let comments = [edges.first, edges.last];
    let bytes = comments.into_iter().flatten().map(|range| &sql.as_bytes()[range]);
    Tags::read(bytes, |key| matches!(key, "route" | "controller" | "action" | "application"))
}

#[test]
fn tags_of_sqlcommenter_are_decoded() {
    check(
        "/*action='%2Fparam*d',controller='index',framework='spring'*/",
        &[("action", "/param*d"), ("controller", "index"), ("framework", "spring")],
    );
    check("/* route='%5Epolls/%24' , job='it\\'s' */", &[("route", "^polls/$"), ("job", "it's")]);
    check("/*name='DROP%20TABLE%20FOO'*/", &[("name", "DROP TABLE FOO")]);
}

#[test]
fn deviations_that_are_seen_are_understood() {
    // Python's library doubles `%` even where no driver undoes it.
    check("/*route='%%2Forders%%2F%%3Cint%%3E'*/", &[("route", "/orders/<int>")]);
    check("/*load='100%25',x='5%%',y='%'*/", &[("load", "100%"), ("x", "5%"), ("y", "%")]);
    // OpenTelemetry's own example.
    check(
        "/*action='%2Fparam*d',controller='index,'framework='spring'*/",
        &[("action", "/param*d"), ("controller", "index"), ("framework", "spring")],
    );
    check(
        "/*application:web,endpoint_id:GET /users,line:app/x.rb:7*/",
        &[("application", "web"), ("endpoint_id", "GET /users"), ("line", "app/x.rb:7")],
    );
    check("/*dddbs='shop-db',ddps='web'*/", &[("dddbs", "shop-db"), ("ddps", "web")]);
}

#[test]
fn broken_pairs_are_left_out_and_the_rest_is_read() {
    check("/*route='/a',just words,='x',job='b'*/", &[("route", "/a"), ("job", "b")]);
    check("/*route='/a',job='never closed,x:1*/", &[("route", "/a"), ("x", "1")]);
    check("/*route='%FF%FE',job='b'*/", &[("job", "b")]);
    check("/*route='',job='b'*/", &[("job", "b")]);
    check("/**/", &[]);
    check("-- route='/a'", &[]);
    check("/*route='/a'", &[]);
}

#[test]
fn comments_and_values_have_limits() {
    let many: Vec<_> = (0..100).map(|n| format!("k{n}='v'")).collect();
    assert_eq!(pairs(&format!("/*{}*/", many.join(","))).len(), MOST_TAGS);
    assert!(pairs(&format!("/*a='{}'*/", "x".repeat(COMMENT_LIMIT))).is_empty());
    let long = pairs(&format!("/*a='{}'*/", "ü".repeat(300)));
    assert_eq!(long[0].1, "ü".repeat(VALUE_LIMIT / 2));
}

#[test]
fn only_what_a_tool_wrote_is_a_comment_of_tags() {
    for yes in [
        "/*route='/a'*/",
        "/* application:web,controller:orders */",
        "/*ddps='web',dde='prod'*/",
        &format!("/*traceparent='{TRACE}'*/"),
    ] {
        assert!(is_tags(yes.as_bytes()), "{yes}");
    }
    for no in [
        "/*+ IndexScan(a) */",
        "/*+ route='/a' */",
        "/* by Ann: look at this */",
        "/* route='/a' and why */",
        "/*x='1'*/",
        "/**/",
    ] {
        assert!(!is_tags(no.as_bytes()), "{no}");
    }
}

#[test]
fn comments_at_the_ends_are_found_in_every_form() {
    for sql in [
        "SELECT 1 /*route='/a'*/",
        "SELECT 1 /*route='/a'*/;",
        "SELECT 1; /*route='/a'*/ ;\n",
        "/*route='/a'*/ SELECT 1",
        " /*x*/ SELECT 1 /*route='/a'*/ ",
        "/*route='/b'*/SELECT 1/*route='/a'*/",
        "/*route='/a'*/ SELECT 1 /*x='2'*/",
    ] {
        assert_eq!(tags(sql).get("route"), Some("/a"), "{sql}");
        let body = Edges::of(sql.as_bytes()).body;
        assert_eq!(sql[body].trim_end_matches(';'), "SELECT 1", "{sql}");
    }
}

#[test]
fn what_is_no_comment_at_an_end_stays_in_the_text() {
    for sql in [
        "SELECT 1",
        "SELECT '/*a*/'",
        "SELECT 1 /* a /* b */ c */",
        "/* a /* b */ c */ SELECT 1",
        "SELECT 1 -- /*a",
        "SELECT 2 */",
        "*/",
        "/*",
        "/*/",
        "",
    ] {
        let edges = Edges::of(sql.as_bytes());
        if sql.ends_with("c */") {
            // A nested one is not taken apart.
            assert_eq!(edges.last, None, "{sql}");
        }
        assert!(edges.is_bare(), "{sql} {edges:?}");
        assert_eq!(&sql[edges.body], sql);
    }
}

#[test]
fn a_route_is_made_of_what_there_is() {
    for (comment, expected) in [
        ("route='/a',controller='c',action='d'", Some("/a")),
        ("controller='c',action='d'", Some("c#d")),
        ("controller='c'", Some("c")),
        ("application='web'", None),
    ] {
        let tags = tags(&format!("SELECT 1 /*{comment}*/"));
        assert_eq!(tags.route().as_deref(), expected, "{comment}");
    }
}

#[test]
fn traces_requests_and_excuses_are_understood() {
    let said = tags(&format!("SELECT 1 /*nplusone='ok',request_id='r1',traceparent='{TRACE}'*/"));
    assert_eq!(said.trace, TRACE.parse().ok());
    assert_eq!(said.request.as_deref(), Some("r1"));
    assert_eq!(said.repeats, Repeats::Known);
    assert!(said.pairs.is_empty() && !said.is_empty());
    assert!(tags("SELECT 1 /*traceparent='00-0-0-0'*/").is_empty());
}

#[test]
fn datadogs_service_is_the_application_unless_one_is_named() {
    assert_eq!(tags("SELECT 1 /*ddps='web'*/").get("application"), Some("web"));
    let both = tags("SELECT 1 /*ddps='web',application='shop'*/");
    assert_eq!(both.get("application"), Some("shop"));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read(text in proptest::collection::vec(proptest::sample::select(b"/*'=:,%\\;a2F \xff\n".to_vec()), 0..60)) {
        let edges = Edges::of(&text);
        proptest::prop_assert!(edges.body.end <= text.len());
        for comment in [edges.first, edges.last].into_iter().flatten() {
            let _ = is_tags(&text[comment.clone()]);
            each(&text[comment], |_, _| {});
        }
        each(&text, |_, _| {});
    }
}
