"""Bytes that are no QMP, or nearly none: by hand for each rule of the syntax, and drawn by seed."""

import random

OPEN = b'{"execute": "query-block-exports", "id": '

# One rule each; asked one by one, with a resynchronisation between them.
BY_HAND = [
    # Structure that does not balance.
    b"}", b"]", b"}}", b"]]", b"}]", b"{]", b"[}", b"{}}", b"[]]", b"[[}", b"{{}", b"{[}", b"[{]}",
    b"{}{}", b"[][]", b"{} {} 1 2 ", b"{,}", b"[,]", b"{:}", b"[:]", b",", b":", b",,", b"::",
    b"{\"a\"}", b"{\"a\":}", b"{\"a\":1,}", b"{\"a\":1 \"b\":2}", b"{\"a\" 1}", b"{1:2}", b"{null:1}",
    b"{[]:1}", b"{{}:1}", b"[1,]", b"[1 2]", b"[,1]", b"[1,,2]", b"{\"a\":1,,\"b\":2}",
    b"{\"a\":1,\"a\":2}", b"{\"a\":{\"b\":1,\"b\":1}}", b"{\"\":1,\"\":1}", b"{\"a\":1}}{\"b\":2}",
    # Words.
    b"true ", b"false ", b"null ", b"tru ", b"nul", b"nulll ", b"True ", b"NULL ", b"nan ", b"inf ",
    b"[true,false,null]", b"truefalse ", b"true{}", b"a{}", b"_ ", b"a_b ", b"a1 ", b"undefined;",
    # Numbers.
    b"0 ", b"-0 ", b"00 ", b"01 ", b"-01 ", b"- ", b"-a ", b"+1 ", b".5 ", b"5. ", b"5.e1 ", b"1e ",
    b"1e+ ", b"1e-1 ", b"1E5 ", b"1.5E+3 ", b"0e1 ", b"0.0 ", b"-0.0 ", b"0x10 ", b"1_000 ",
    b"1,2 ", b"1.2.3 ", b"--1 ", b"1-1 ", b"1a ", b"[0123]", b"[1e5]", b"[-]", b"[1.]",
    b"12345678901234567890123456789 ", b"-12345678901234567890123456789 ",
    # Strings.
    b"''", b"\"\"", b"'a'", b"'a\"b'", b"\"a'b\"", b"'a\\'b'", b"\"a\\'b\"", b"'a\\\"b'",
    b"\"\\\"", b"'\\'", b"\"\\\\\"", b"\"\\/\\b\\f\\n\\r\\t\"", b"\"\\a\"", b"\"\\0\"", b"\"\\x41\"",
    b"\"\\\xc3\xa9\"", b"\"\\ \"", b"\"\\u\"", b"\"\\u1\"", b"\"\\u12\"", b"\"\\u123\"", b"\"\\u123g\"",
    b"\"\\uzzzz\"", b"\"\\u0041\"", b"\"\\u00e9\"", b"\"\\u0000\"", b"\"\\ud800\"", b"\"\\udc00\"",
    b"\"\\ud800\\ud800\"", b"\"\\ud83d\\ude00\"", b"\"\\ud83d\\u0041\"", b"\"\\ud83dx\"",
    b"\"\\ud83d\\\"", b"\"\\ud83d\\u12\"", b"\"\\ufffe\"", b"\"\\uffff\"", b"\"\\ufdd0\"",
    b"\"\\udbff\\udfff\"", b"\"\\ud83f\\udffe\"", b"\"\\U0041\"",
    b"\"a\nb\"", b"\"a\rb\"", b"\"a\tb\"", b"\"a\x00b\"", b"\"a\x01b\"", b"\"a\x1fb\"", b"\"a\x7fb\"",
    b"'a\nb'", b"\"unterminated\n", b"'unterminated\n", b"{\"a\": \"b\n}", b"\"a\\\nb\"",
    # UTF-8: good, cut short, overlong, surrogates, beyond, non-characters, stray continuation.
    b"\"\xc3\xa9\"", b"\"\xe2\x82\xac\"", b"\"\xf0\x9f\x98\x80\"", b"\"\xc3\"", b"\"\xe2\x82\"",
    b"\"\xf0\x9f\x98\"", b"\"\xc3x\"", b"\"\xc0\x80\"", b"\"\xc1\xbf\"", b"\"\xe0\x80\x80\"",
    b"\"\xe0\x9f\xbf\"", b"\"\xf0\x80\x80\x80\"", b"\"\xf0\x8f\xbf\xbf\"", b"\"\xed\xa0\x80\"",
    b"\"\xed\xbf\xbf\"", b"\"\xf4\x8f\xbf\xbd\"", b"\"\xf4\x90\x80\x80\"", b"\"\xf8\x88\x80\x80\x80\"",
    b"\"\xfc\x84\x80\x80\x80\x80\"", b"\"\xef\xbf\xbe\"", b"\"\xef\xbf\xbf\"", b"\"\xef\xb7\x90\"",
    b"\"\xf0\x9f\xbf\xbe\"", b"\"\x80\"", b"\"\xbf\"", b"\"\xfe\"", b"\"\xff\"", b"\xc3\xa9", b"\x80",
    b"\xef\xbb\xbf{}", b"{\"\xc3\xa9\": 1}", b"{\"\xff\": 1}", b"{\"\\ud800\": 1}",
    # Tokens of QEMU's own use, comments, and other strangers.
    b"%d ", b"%i ", b"%s ", b"[%p]", b"{\"execute\": %s}", b"%%", b"# comment\n", b"// comment\n",
    b"/* */", b"@ \"foo\" ", b"!", b"~", b"`", b"$(x)", b"<xml/>", b"a=b", b"(1)", b";", b"*", b"&",
    b"^{}", b"|[]", b"?,", b"=:", b"@]", b"@}",
    # Control characters and bytes that force a known state.
    b"\x00", b"\x01", b"\x08", b"\x0b", b"\x0c", b"\x1b[A", b"\x7f", b"\xfe", b"\xff", b"\xff\xff",
    b"{\"a\":\x01 1}", b"{\"a\": [1, \xff", b"[[[[\xff", b"{\"execute\": \"qu\xff", b"\x00\x00\x00",
    b"abc\x00def ", b"\"a\x00", b"!\x00!", b"{\xfe}", b"\t\r\n \t",
    # What is a value, and no request.
    b"1 ", b"\"x\"", b"[{}]", b"{\"execute\"}", b"{\"execute\":}", b"{\"execute\": \"a\", }",
    # Depth.
    b"[" * 1024 + b"]" * 1024, b"[" * 1025 + b"]" * 1025, b"[" * 1030, b"{\"a\":" * 1030,
    b"[{\"a\":" * 512 + b"1" + b"}]" * 512, b"[{\"a\":" * 513 + b"1" + b"}]" * 513,
    # Messages.
    b"{}", b"{\"id\": 1}", b"{\"control\": \"x\"}", b"{\"execute\": \"x\", \"control\": \"y\", \"id\": 1}",
    b"{\"execute\": null}", b"{\"execute\": []}", b"{\"execute\": \"\"}", b"{\"execute\": \"\\u0000\"}",
    b"{\"execute\": \"a\\u0000b\"}", b"{\"execute\": \"a b\", \"id\": 1}", b"{\"exec-oob\": \"quit\"}",
    b"{\"exec-oob\": 1}", b"{\"exec-oob\": \"x\", \"execute\": \"y\"}", b"{\"EXECUTE\": \"x\"}",
    b"{'execute': 'x', 'arguments': null}", b"{'execute': 'x', 'arguments': []}",
    b"{'execute': 'x', 'arguments': 'x'}", b"{'arguments': {}}",
    b"{'execute': 'query-block', 'arguments': {}}", b"{'execute': 'query-block', 'id': 'it\\'s'}",
    b"{'execute': 'query-block', 'arguments': {'': 1}}",
    b"{'execute': 'query-block', 'arguments': {'\\u00e9\\u0001': 1}}",
    b"{\"return\": {}}", b"{\"event\": \"X\"}", b"{\"QMP\": {}}",
    # Ids, as they come back.
    *(OPEN + token + b"}" for token in (
        b"null", b"true", b"0", b"-0", b"1.0", b"1.5", b"1e3", b"1e-7", b"0.1", b"123456789.125", b"1e22",
        b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808",
        b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616", b"-0.0",
        b"1.7976931348623157e308", b"5e-324", b"1e-400", b"1e400", b"-1e400", b"[]", b"{}", b"[{}, []]",
        b"\"\"", b"\"\\u0000\"", b"\"\\u007f\\u0080\"", b"\"\\u00e9\xc3\xa9\"", b"\"\\ud83d\\ude00\"",
        b"\"\\/\\\\\\\"'\"", b"'\"'", b"\"\\u001f\\b\\f\\n\\r\\t\"", b"\"\xef\xbf\xbd\"", b"\"<>&\"")),
]

PIECES = (b"{", b"}", b"[", b"]", b":", b",", b"\"", b"'", b"\\", b"\\u", b"\\ud83d", b"\\\"", b"\\'", b"00",
          b"0", b"1", b"-", b"+", b".", b"e", b"E5", b"true", b"null", b"x", b"X", b" ", b"\n", b"\t", b"\r",
          b"\x00", b"\x01", b"\x1f", b"\x7f", b"\x80", b"\xc3\xa9", b"\xc0\x80", b"\xed\xa0\x80",
          b"\xf4\x90\x80\x80", b"\xfe", b"\xff", b"%s", b"#", b"\"execute\"", b"'id'", b"\"query-block\"",
          b"\"arguments\": {", b"{\"execute\": \"query-block\"}", b"1.5e3", b"\"a\": 1")


def by_seed(seed, count):
    """`count` inputs of random pieces."""
    rand = random.Random(seed)
    for _ in range(count):
        yield b"".join(rand.choice(PIECES) for _ in range(rand.randrange(1, 12)))


def damaged(requests, seed, count):
    """Requests (bytes) with some bytes changed, removed or added."""
    rand = random.Random(seed)
    for _ in range(count):
        data = bytearray(rand.choice(requests))
        for _ in range(rand.choice((1, 1, 2, 5))):
            at = rand.randrange(len(data) + 1)
            kind = rand.randrange(3)
            if kind == 0 and at < len(data):
                del data[at]
            elif kind == 1 and at < len(data):
                data[at] = rand.randrange(256)
            else:
                data[at:at] = rand.choice(PIECES)
        yield bytes(data)
