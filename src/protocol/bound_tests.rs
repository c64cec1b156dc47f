//! Values of a Bind as other implementations write them, cut anywhere, and nonsense.

use std::error::Error;

use postgres_protocol::types;

use super::*;

/// A Bind's end, with these formats and values.
fn bind(formats: &[u16], values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (formats.len() as u16).to_be_bytes().to_vec();
    body.extend(formats.iter().flat_map(|format| format.to_be_bytes()));
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        body.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    body.extend([0, 0]);
    body
}

#[test]
fn values_are_read_with_their_forms() {
    let text = |bytes| Value { form: Form::Text, bytes };
    let binary = |bytes| Value { form: Form::Binary, bytes };
    let values = [Some(&b"a"[..]), None, Some(b"")];
    for (formats, expected) in [
        (&[][..], [text(values[0]), text(None), text(values[2])]),
        (&[1], [binary(values[0]), binary(None), binary(values[2])]),
        (&[0, 0, 1], [text(values[0]), text(None), binary(values[2])]),
    ] {
        let body = bind(formats, &values);
        let read = Values::read(&body).unwrap();
        assert!(read.is_whole());
        assert_eq!(read.values, expected);
    }
}

#[test]
fn what_is_cut_anywhere_is_read_as_far_as_it_goes() {
    let body = bind(&[0, 1], &[Some(b"first"), Some(b"second")]);
    let whole = Values::read(&body).unwrap();
    for length in 0..body.len() - 2 {
        let Some(read) = Values::read(&body[..length]) else { continue };
        assert!(!read.is_whole(), "{length}");
        for (part, all) in read.values.iter().zip(&whole.values) {
            assert!(all.bytes.unwrap().starts_with(part.bytes.unwrap()), "{length}");
        }
    }
    assert_eq!(Values::read(&[255, 255, 0]), None);
    let lies = Values::read(&[0, 0, 255, 255, 127, 255, 255, 255]).unwrap();
    assert!(lies.is_cut && lies.values.len() == 1);
}

/// Bytes as another implementation writes them.
fn written<E>(write: impl FnOnce(&mut bytes::BytesMut) -> Result<(), E>) -> Vec<u8>
where
    E: std::fmt::Debug,
{
    let mut out = bytes::BytesMut::new();
    write(&mut out).unwrap();
    out.to_vec()
}

fn always(write: impl FnOnce(&mut bytes::BytesMut)) -> Vec<u8> {
    written(|out| {
        write(out);
        Ok::<(), ()>(())
    })
}

#[test]
fn common_types_are_written_as_postgres_does() {
    let day = 24 * 3_600 * 1_000_000_i64;
    let numeric = |parts: &[u16]| parts.iter().flat_map(|part| part.to_be_bytes()).collect();
    for (kind, bytes, expected) in [
        (16, vec![1], "t"),
        (17, vec![0, 255], "\\x00ff"),
        (20, always(|out| types::int8_to_sql(-5, out)), "-5"),
        (21, always(|out| types::int2_to_sql(7, out)), "7"),
        (23, always(|out| types::int4_to_sql(i32::MIN, out)), "-2147483648"),
        (25, b"it's".to_vec(), "it's"),
        (701, always(|out| types::float8_to_sql(1.5, out)), "1.5"),
        (701, always(|out| types::float8_to_sql(f64::NEG_INFINITY, out)), "-Infinity"),
        (1082, always(|out| types::date_to_sql(-1, out)), "1999-12-31"),
        (1082, always(|out| types::date_to_sql(8_825, out)), "2024-02-29"),
        (1114, always(|out| types::timestamp_to_sql(day - 1, out)), "2000-01-01 23:59:59.999999"),
        (1184, always(|out| types::timestamp_to_sql(-1, out)), "1999-12-31 23:59:59.999999+00"),
        (1700, numeric(&[3, 1, 0x4000, 2, 12, 345, 6_700]), "-120345.67"),
        (1700, numeric(&[1, 0xFFFF, 0, 3, 500]), "0.050"),
        (1700, numeric(&[0, 0, 0, 0]), "0"),
        (1700, numeric(&[1, 2, 0, 0, 1]), "100000000"),
        (2950, (0..16).collect(), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (3802, b"\x01{\"a\":1}".to_vec(), "{\"a\":1}"),
    ] {
        let value = Value { form: Form::Binary, bytes: Some(&bytes) };
        assert_eq!(value.text(kind).as_deref(), Some(expected), "{kind}");
    }
}

#[test]
fn arrays_are_written_with_their_elements_in_quotes() {
    let array = |values: Vec<Option<i32>>| {
        let dimension = types::ArrayDimension { len: values.len() as i32, lower_bound: 1 };
        let element = |value: Option<i32>, out: &mut bytes::BytesMut| {
            if let Some(value) = value {
                types::int4_to_sql(value, out);
            }
            let is_null = if value.is_some() {
                postgres_protocol::IsNull::No
            } else {
                postgres_protocol::IsNull::Yes
            };
            Ok::<_, Box<dyn Error + Sync + Send>>(is_null)
        };
        written(|out| types::array_to_sql([dimension], 23, values, element, out))
    };
    let text = |bytes: &[u8]| Value { form: Form::Binary, bytes: Some(bytes) }.text(1007);
    assert_eq!(text(&array(vec![Some(1), None, Some(-3)])).unwrap(), "{\"1\",NULL,\"-3\"}");
    assert_eq!(text(&[0; 12]).unwrap(), "{}");
    let whole = array(vec![Some(1), Some(2)]);
    for length in 1..whole.len() {
        assert_eq!(text(&whole[..length]), None, "{length}");
    }
}

#[test]
fn nonsense_has_no_text() {
    for kind in [0, 16, 20, 21, 23, 26, 700, 701, 1082, 1114, 1700, 2950, 3802, 1007, 99_999] {
        for bytes in [&b""[..], b"\xff", &[0xff; 7], &[0x7f; 33]] {
            // Whatever it says, it says it without a panic.
            let text = Value { form: Form::Binary, bytes: Some(bytes) }.text(kind);
            assert_eq!(text, None, "{kind} {bytes:?}");
        }
    }
    assert_eq!(Value { form: Form::Text, bytes: None }.text(25), None);
}

#[test]
fn arrays_do_not_nest() {
    // Each level would double the backslashes of the one within.
    let mut bytes = b"\"".to_vec();
    for level in 0..60 {
        let kind: u32 = if level == 0 { 25 } else { 1009 };
        let head = [1, 0, kind, 1, 1, bytes.len() as u32];
        bytes = [&head.map(u32::to_be_bytes).concat()[..], &bytes].concat();
        let text = Value { form: Form::Binary, bytes: Some(&bytes) }.text(1009);
        assert_eq!(text.is_some(), level == 0, "{level}");
    }
}

#[test]
fn no_text_is_out_of_proportion() {
    let zeros = [0, 0, 0, 16_000_u16].map(u16::to_be_bytes).concat();
    let value = Value { form: Form::Binary, bytes: Some(&zeros) };
    assert_eq!((value.text(1700), value.shown(1700).unwrap()), (None, hexadecimal(&zeros)));
    let many = [1, 0, 1700, 40, 1].map(u32::to_be_bytes).concat();
    let one = [&8_u32.to_be_bytes()[..], &zeros].concat();
    let many = [many, one.repeat(40)].concat();
    assert_eq!(Value { form: Form::Binary, bytes: Some(&many) }.text(1231), None);
}

#[test]
fn text_in_another_encoding_is_only_shown() {
    let value = Value { form: Form::Text, bytes: Some(b"caf\xe9") };
    assert_eq!((value.text(25), value.shown(25).unwrap()), (None, "caf\u{fffd}".to_owned()));
    assert_eq!(Value { bytes: None, ..value }.shown(25), None);
}

#[test]
fn types_stand_behind_the_text() {
    assert_eq!(types(&[0, 2, 0, 0, 0, 23, 0, 0, 0, 25]), [23, 25]);
    assert_eq!(types(&[0, 2, 0, 0, 0, 23]), [23]);
    assert!(types(&[]).is_empty());
}
