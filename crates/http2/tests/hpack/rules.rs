//! What RFC 7541 says in so many words: the examples of its appendix C, and what a decoder must refuse.

use crate::models::{Field, huffman, static_field};
use isobar_http2::hpack::{Decoder, Encoder, HpackError};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn fields(lines: &[&str]) -> Vec<Field> {
    let split = |line: &&str| {
        let (name, value) = line[1..].split_once(": ").unwrap();
        (format!("{}{name}", &line[..1]).into_bytes(), value.as_bytes().to_vec())
    };
    lines.iter().map(split).collect()
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Field>, HpackError> {
    let mut shown = Vec::new();
    decoder.decode(block, |name, value| shown.push((name.to_vec(), value.to_vec())))?;
    Ok(shown)
}

/// The dynamic table, the newest first, as its indices show it.
fn table(decoder: &mut Decoder) -> Vec<Field> {
    let indices = 62..=126_u8;
    indices.map_while(|index| decoded(decoder, &[0x80 | index]).ok()).flatten().collect()
}

/// A block, what it stands for, and the table after it.
type Step<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn hold(table_max: usize, steps: &[Step<'_>]) {
    let mut decoder = Decoder::new(table_max);
    for (block, shown, kept) in steps {
        assert_eq!(decoded(&mut decoder, &bytes(block)), Ok(fields(shown)), "{block}");
        assert_eq!(table(&mut decoder), fields(kept), "after {block}");
    }
}

#[test]
fn the_examples_of_appendix_c_2_hold() {
    let header = ["custom-key: custom-header"];
    hold(4096, &[("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", &header, &header)]);
    hold(4096, &[("040c 2f73 616d 706c 652f 7061 7468", &[":path: /sample/path"], &[])]);
    hold(4096, &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &["password: secret"], &[])]);
    hold(4096, &[("82", &[":method: GET"], &[])]);
}

const REQUESTS: [&[&str]; 3] = [
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
    &[
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ],
];

const PLAIN_REQUESTS: [&str; 3] = [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
];

#[test]
fn the_requests_of_appendix_c_3_and_c_4_hold() {
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    let kept = ["custom-key: custom-value", "cache-control: no-cache", ":authority: www.example.com"];
    for blocks in [PLAIN_REQUESTS, coded] {
        let steps = [0, 1, 2].map(|at| (blocks[at], REQUESTS[at], &kept[2 - at..]));
        hold(4096, &steps);
    }
}

#[test]
fn the_encoder_sends_the_requests_of_appendix_c_3_as_they_stand_there() {
    let mut encoder = Encoder::new();
    for (block, request) in PLAIN_REQUESTS.iter().zip(REQUESTS) {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in fields(request) {
            encoder.encode(&name, &value, &mut out);
        }
        assert_eq!(out, bytes(block));
    }
}

#[test]
fn the_responses_of_appendix_c_5_and_c_6_hold_with_their_evictions() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
         474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
         666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
         3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
         63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    let location = "location: https://www.example.com";
    let (date, later) = ("date: Mon, 21 Oct 2013 20:13:21 GMT", "date: Mon, 21 Oct 2013 20:13:22 GMT");
    let cookie = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let (private, gzip) = ("cache-control: private", "content-encoding: gzip");
    for blocks in [plain, coded].map(|blocks| blocks.map(|block| block.replace(['\n', ' '], ""))) {
        hold(
            256,
            &[
                (
                    &blocks[0],
                    &[":status: 302", private, date, location],
                    &[location, date, private, ":status: 302"],
                ),
                (
                    &blocks[1],
                    &[":status: 307", private, date, location],
                    &[":status: 307", location, date, private],
                ),
                (
                    &blocks[2],
                    &[":status: 200", private, later, location, gzip, cookie],
                    &[cookie, gzip, later],
                ),
            ],
        );
    }
}

#[test]
fn the_static_table_has_its_fields_where_appendix_a_has_them() {
    let listed = [
        (1, ":authority", ""),
        (7, ":scheme", "https"),
        (14, ":status", "500"),
        (16, "accept-encoding", "gzip, deflate"),
        (28, "content-length", ""),
        (32, "cookie", ""),
        (38, "host", ""),
        (45, "link", ""),
        (54, "server", ""),
        (58, "user-agent", ""),
        (61, "www-authenticate", ""),
    ];
    for (index, name, value) in listed {
        assert_eq!(static_field(index), (name.into(), value.into()), "{index}");
    }
    let names: Vec<Vec<u8>> = (15..62).map(|index| static_field(index).0).collect();
    assert_eq!(names.iter().filter(|name| *name == b"accept").count(), 1);
    assert!(names.iter().all(|name| !name.starts_with(b":")));
}

/// A literal field that has `string`, in Huffman code, as its value.
fn coded(string: &[u8]) -> Vec<u8> {
    [&[0x00, 0x01, b'x', 0x80 | string.len() as u8], string].concat()
}

#[test]
fn every_symbol_is_decoded_alone_and_between_others() {
    for symbol in 0..=255_u8 {
        for text in
            [vec![symbol], vec![symbol; 9], [b"00".as_slice(), &[symbol], b"www.example.com"].concat()]
        {
            let fields = decoded(&mut Decoder::new(0), &coded(&huffman::coded(&text)));
            assert_eq!(fields, Ok(vec![(b"x".to_vec(), text)]), "symbol {symbol}");
        }
    }
}

#[test]
fn padding_is_less_than_a_byte_and_all_ones() {
    let refused = |string: &[u8]| decoded(&mut Decoder::new(0), &coded(string)).unwrap_err();
    for text in ["", "a", "0", "www.example.com", "Z", "\n", "12345678"] {
        let right = huffman::coded(text.as_bytes());
        assert!(decoded(&mut Decoder::new(0), &coded(&right)).is_ok());
        assert_eq!(refused(&[&right[..], &[0xff]].concat()), HpackError::BadPadding, "{text:?}");
        assert_eq!(refused(&[&right[..], &[0xff; 2]].concat()), HpackError::BadPadding, "{text:?}");
    }
    let symbols: Vec<usize> = b"a".iter().map(|byte| usize::from(*byte)).collect();
    assert_eq!(refused(&huffman::packed(&symbols, false)), HpackError::BadPadding);
    // A long code that is cut off.
    assert_eq!(refused(&huffman::coded(b"\n")[..2]), HpackError::BadPadding);
}

#[test]
fn the_end_of_a_string_inside_it_is_refused_wherever_it_stands() {
    let end = 256;
    let zero = usize::from(b'0');
    for symbols in [vec![end], vec![zero, end], vec![end, zero], vec![zero; 20], vec![end; 3]] {
        let mut symbols = symbols;
        if !symbols.contains(&end) {
            symbols.insert(11, end);
        }
        let block = coded(&huffman::packed(&symbols, true));
        assert_eq!(decoded(&mut Decoder::new(0), &block), Err(HpackError::EndInString), "{symbols:?}");
    }
}

#[test]
fn what_breaks_a_rule_is_refused_and_named() {
    let hostile: [(&str, HpackError); 17] = [
        ("80", HpackError::IndexZero),
        ("be", HpackError::IndexUnknown),
        ("ff00", HpackError::IndexUnknown),
        ("ffff ffff 7f", HpackError::IndexUnknown),
        ("ffff ffff ff00", HpackError::IntegerTooLong),
        ("7e01 61", HpackError::IndexUnknown),
        ("0f2f 0161", HpackError::IndexUnknown),
        ("8220", HpackError::UpdateMisplaced),
        ("0001 6101 623f e11f", HpackError::UpdateMisplaced),
        ("3fe2 1f", HpackError::UpdateTooLarge),
        ("20 3fff ffff 7f", HpackError::UpdateTooLarge),
        ("3f", HpackError::Truncated),
        ("ff", HpackError::Truncated),
        ("40", HpackError::Truncated),
        ("4001 61", HpackError::Truncated),
        ("4001 6102 62", HpackError::Truncated),
        ("0085 f1e3", HpackError::Truncated),
    ];
    for (block, error) in hostile {
        assert_eq!(decoded(&mut Decoder::new(4096), &bytes(block)), Err(error), "{block}");
    }
}

#[test]
fn an_entry_that_goes_while_its_name_is_used_still_names_the_new_one() {
    let mut decoder = Decoder::new(64);
    let first = [&[0x40, 0x04][..], b"name", &[0x01, b'1']].concat();
    assert_eq!(decoded(&mut decoder, &first), Ok(fields(&["name: 1"])));
    // Its name, by index 62, and a value that leaves no room for both.
    let second = [&[0x7e, 20][..], &[b'v'; 20]].concat();
    let expected = vec![(b"name".to_vec(), vec![b'v'; 20])];
    assert_eq!(decoded(&mut decoder, &second), Ok(expected.clone()));
    assert_eq!(table(&mut decoder), expected);
    // A field larger than the table empties it.
    let third = [&[0x7e, 40][..], &[b'v'; 40]].concat();
    assert_eq!(decoded(&mut decoder, &third), Ok(vec![(b"name".to_vec(), vec![b'v'; 40])]));
    assert_eq!(table(&mut decoder), []);
}

#[test]
fn a_table_starts_at_the_default_and_grows_when_the_peer_says_so() {
    let long = |letter: u8| {
        let mut field = vec![0x40, 0x01, letter];
        field.extend([0x7f, 0x80 | ((2500 - 127) % 128) as u8, ((2500 - 127) / 128) as u8]);
        [field, vec![letter; 2500]].concat()
    };
    let mut decoder = Decoder::new(16_384);
    let both = [long(b'a'), long(b'b')].concat();
    decoded(&mut decoder, &both).unwrap();
    assert_eq!(table(&mut decoder).len(), 1);
    // 16384.
    decoded(&mut decoder, &[bytes("3fe1 7f"), both].concat()).unwrap();
    assert_eq!(table(&mut decoder).len(), 3);
}

fn block(encoder: &mut Encoder, head: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields(head) {
        encoder.encode(&name, &value, &mut out);
    }
    out
}

#[test]
fn a_block_after_a_changed_table_says_its_lowest_and_its_last_size() {
    let mut encoder = Encoder::new();
    encoder.set_table_max(65_536);
    assert_eq!(block(&mut encoder, &[]), [], "ours stays as it is");
    encoder.set_table_max(100);
    encoder.set_table_max(200);
    encoder.set_table_max(65_536);
    assert_eq!(block(&mut encoder, &[]), bytes("3f45 3fe1 1f"));
    assert_eq!(block(&mut encoder, &[]), []);
    encoder.set_table_max(200);
    encoder.set_table_max(0);
    assert_eq!(block(&mut encoder, &["x-a: 1"]), bytes("20 00 03 782d61 01 31"), "nothing fits");
}

#[test]
fn a_secret_is_never_indexed_and_what_changes_leaves_the_table_alone() {
    let mut encoder = Encoder::new();
    for _ in 0..2 {
        assert_eq!(block(&mut encoder, &["authorization: abc"]), bytes("1f08 03 616263"));
        assert_eq!(block(&mut encoder, &["cookie: a=b"]), bytes("1f11 03 613d62"));
        assert_eq!(block(&mut encoder, &[":path: /a"]), bytes("04 02 2f61"));
        assert_eq!(block(&mut encoder, &["content-length: 12"]), bytes("0f0d 02 3132"));
    }
    assert_eq!(block(&mut encoder, &["server: x"])[0], 0x76, "the first that is inserted");
    assert_eq!(block(&mut encoder, &["server: x"]), [0xbe]);
}

#[test]
fn fields_that_repeat_stay_indices_among_many_that_do_not() {
    let mut encoder = Encoder::new();
    let head = ["user-agent: a browser", "x-tenant: one", "accept: */*", "x-kind: small"];
    block(&mut encoder, &head);
    for round in 0..1000 {
        // Two bytes where many came after it.
        assert!(block(&mut encoder, &head).len() <= 2 * head.len(), "round {round}");
        if round % 20 == 0 {
            let others: Vec<String> = (0..5).map(|at| format!("x-other: {round} {at}")).collect();
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            block(&mut encoder, &others);
            // Twice, since the first may push out one that it has just sent.
            block(&mut encoder, &head);
            block(&mut encoder, &head);
        }
    }
}
