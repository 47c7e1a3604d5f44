#!/usr/bin/env python3
"""The parser against http1-parser (llhttp) and http-desync (http-desync-guardian).

usage: vectors.py parse_stdin source_root

Every difference to what the vectors expect is listed below with the rule that makes it, and a list entry that
no longer differs is a failure too. Exit status 77: the vectors are not there.
"""
import os
import re
import subprocess
import sys

# ---- where ours differs ----


def by_rule(table):
    return {case: refusal for refusal, cases in table.items() for case in cases}


# http1-parser: (file, case) -> what the parser says instead of accepting. Ours is stricter.
STRICTER = by_rule({
    # a request line is exactly "method SP target SP HTTP/digit.digit"; one empty line may stand before it, not two
    "line": [
        ("connection.md", "CRLF between requests, implicit `keep-alive`"),
        ("method.md", "SOURCE request with ICE"),
        ("method.md", "OPTIONS request with RTSP"),
        ("method.md", "ANNOUNCE request with RTSP"),
        ("sample.md", "No HTTP version"),
    ],
    # the target is an origin form, an absolute form without user information, or "*" with OPTIONS only; no fragment, no space, no control character
    "target": [
        ("method.md", "M-SEARCH request"),
        ("transfer-encoding.md", "POST with `chunked` as last transfer-encoding"),
        ("transfer-encoding.md", "POST with `chunked` as last transfer-encoding (multiple headers)"),
        ("uri.md", "Fragment in URI"),
        ("uri.md", "`host:port` and basic auth"),
    ],
    # a host name, an address, a port, and nothing else
    "host": [
        ("sample.md", "curl GET"),
        ("sample.md", "Firefox GET"),
    ],
})

# http1-parser: refused there, accepted here.
WIDER = {
    ("invalid.md", "Invalid method"): "any token is a method: methods are judged after the parser",
    ("method.md", "CONNECT with body"): "a body is a body, whatever the method",
    ("content-length.md", "Content-Length reset when no body is received"): "there the parser was told of no body",
}

# http-desync: not `Severe`, and yet refused.
DESYNC_STRICTER = by_rule({
    # a request line is exactly "method SP target SP HTTP/digit.digit"; one empty line may stand before it, not two
    "line": [
        ("acceptable.yaml", "Empty version, which means HTTP/0.9 #7"),
        ("ambiguous.yaml", "Transfer-Encoding for empty protocol, which is HTTP/0.9 #26"),
        ("ambiguous.yaml", "Content-Length for empty protocol, which is HTTP/0.9 #27"),
    ],
    # HTTP/1.0 and HTTP/1.1 only
    "version": [
        ("acceptable.yaml", "Non-RFC, but OK HTTP/0.9 #6"),
        ("acceptable.yaml", "Unknown but OK HTTP/1.2 #8"),
        ("ambiguous.yaml", "Transfer-Encoding for HTTP/0.9 #24"),
        ("ambiguous.yaml", "Content-Length for HTTP/0.9 #25"),
    ],
    # the target is an origin form, an absolute form without user information, or "*" with OPTIONS only; no fragment, no space, no control character
    "target": [
        ("rfc-compliant.yaml", "Compliant URL #11"),
        ("rfc-compliant.yaml", "Empty URI #13"),
        ('uri-specific-test-cases.yaml', '\\t in URI #0'),
        ('uri-specific-test-cases.yaml', '\\x01 in URI #2'),
        ("uri-specific-test-cases.yaml", "[space] in URI #3"),
    ],
    # names are tokens, without white space before the colon; values have no control characters
    "field": [
        ("acceptable.yaml", "No TE/CL headers, some others are non-compliant #0"),
        ("acceptable.yaml", "TE and some others are non-compliant #1"),
        ("acceptable.yaml", "A non-essential header with a non-printable character (x01) #2"),
        ("acceptable.yaml", "CL and some others are non-compliant #3"),
        ("ambiguous.yaml", "Transfer-Encoding with a trailing space in name #0"),
        ("ambiguous.yaml", "Transfer-Encoding with a trailing tab in name #1"),
        ('ambiguous.yaml', '\\x01Transfer-Encoding with a non-printable character #2'),
        ('ambiguous.yaml', '\\x01\\x01Transfer-Encoding with a non-printable character #3'),
        ('ambiguous.yaml', '\\x01\\x01Content-Length with a non-printable character #4'),
        ('ambiguous.yaml', '\\x01Content-Length with a non-printable character #5'),
        ("ambiguous.yaml", "Transfer-Encoding with a space in the middle #6"),
        ("ambiguous.yaml", "Transfer-Encoding[white-space] and Content-Length #16"),
        ("ambiguous.yaml", "Transfer-Encoding[white-space] and Content-Length[white-space] #19"),
        ("ambiguous.yaml", "Empty header name #20"),
        ("ambiguous.yaml", "Header name starts with : #21"),
        ("ambiguous.yaml", "Transfer-Encoding Latin Small Letter Long S #28"),
        ("ambiguous.yaml", "Transfer-Encoding Latin Small Letter Dotless I #29"),
        ("ambiguous.yaml", "Content-Length with UTF8 spaces #33"),
        ("ambiguous.yaml", "Transfer-Encoding with a UTF8 delimiter #34"),
        ("ambiguous.yaml", "Transfer-Encoding with arbitrary non-ASCII chars #35"),
        ("ambiguous.yaml", "Content-Length with arbitrary non-ASCII chars #36"),
        ('bad-header-characters.yaml', '\\x01Transfer-Encoding #0'),
        ('bad-header-characters.yaml', 'Transfer-Encoding\\x01 #5'),
        ('bad-header-characters.yaml', '\\x01Content-Length #6'),
        ('bad-header-characters.yaml', 'Content-Length\\x01 #7'),
        ('bad-header-characters.yaml', 'Some-Header\\x01 #11'),
        ('bad-header-characters.yaml', '\\x01Some-Header #12'),
        ('bad-header-characters.yaml', 'Some-Header: \\x01value #13'),
        ('bad-header-characters.yaml', 'Some-Header: value\\x01 #14'),
        ("edge-cases.yaml", "Non-compliant customer header does not shadow ambiguous Transfer-Encoding for GET #3"),
        ("edge-cases.yaml", "Non-compliant customer header does not shadow ambiguous Content-Length for HEAD #4"),
        ("edge-cases.yaml", "Bad URI does not shadow essential ambiguous headers #7"),
        ("real-life-test-cases.yaml", "Transfer-Encoding[tab]: chunked #9"),
    ],
    # a field line does not begin with white space
    "folding": [
        ("ambiguous.yaml", "[white-space]Transfer-Encoding and Content-Length #17"),
        ("ambiguous.yaml", "[white-space]Transfer-Encoding and [white-space]Content-Length #18"),
        ("ambiguous.yaml", "Only white-spaces header name #22"),
        ("ambiguous.yaml", "Transfer-Encoding with UTF8 spaces #32"),
    ],
    # one Content-Length, of digits
    "length": [
        ("ambiguous.yaml", "Duplicate Content-Length #9"),
        ("real-life-test-cases.yaml", "Two Identical Fields - CL #3"),
    ],
    # Content-Length beside Transfer-Encoding is refused, whatever they say
    "length_and_coding": [
        ("ambiguous.yaml", "Both Transfer-Encoding:chunked and Content-Length #10"),
        ("real-life-test-cases.yaml", "Chunks Priority on Content-Length #5"),
        ("real-life-test-cases.yaml", "Chunks Priority on Content-Length.1 #19"),
        ("real-life-test-cases.yaml", "Send small (1614 bytes) request, transfer encoded request #23"),
    ],
    # the only transfer coding is "chunked", alone
    "coding": [
        ("ambiguous.yaml", "Both Transfer-Encoding and Content-Length #11"),
        ("more-compliant-tests.yaml", "Multiple transfer encoding headers in a single request OK #8"),
        ("real-life-test-cases.yaml", "Transfer-Encoding: identity and Content-Length #14"),
        ("real-life-test-cases.yaml", "Multiple transfer encoding headers in a single request #16"),
        ("rfc-compliant.yaml", "Different Transfer-Encoding headers #8"),
    ],
    # "chunked" once, alone, without parameters, in HTTP/1.1
    "coding_malformed": [
        ("ambiguous.yaml", "Transfer-Encoding for HTTP/1.0 #23"),
        ("more-compliant-tests.yaml", "Correct TE OK #5"),
        ("more-compliant-tests.yaml", "Transfer-Encoding: identity and chunked OK #7"),
        ("more-compliant-tests.yaml", "TE with custom parameters OK #9"),
        ("real-life-test-cases.yaml", "HTTP Version.1.0 and TE #2"),
        ("real-life-test-cases.yaml", "Mixed case #17"),
        ("rfc-compliant.yaml", "Different Transfer-Encoding headers combined #9"),
        ("rfc-compliant.yaml", "Transfer-Encoding with a param: chunked;custom_param #10"),
    ],
})


def fnv(body):
    h = 14695981039346656037
    for byte in body:
        h = (h ^ byte) * 1099511628211 % 2**64
    return h


def refused_in(told):
    found = re.search(r"^refused (\w+)", told, re.M)
    return found and found[1]


class Parser:
    def __init__(self, program):
        self.program = program

    def tell(self, inputs):
        data = b"".join(b"%d\n%s" % (len(i), i) for i in inputs)
        run = subprocess.run([self.program], input=data, stdout=subprocess.PIPE, check=True)
        told = run.stdout.decode("latin-1").split("---\n")[:-1]
        assert len(told) == len(inputs)
        return told


# ---- http1-parser ----


def markdown_cases(path):
    """(title, kind, input, log lines) of each case."""
    text = open(path, encoding="utf-8", newline="").read().replace("\r\n", "\n")
    titles, kind, fence, block, blocks = [], None, None, [], {}
    for line in text.split("\n"):
        if fence is not None:
            if line.startswith("```"):
                blocks[fence] = "\n".join(block)
                if fence == "log":
                    yield titles[-1], kind, raw_input(blocks["http"]), blocks["log"].split("\n")
                fence, block = None, []
            else:
                block.append(line)
        elif line.startswith("```"):
            fence = line[3:].strip()
        elif line.startswith("#"):
            titles.append(line.lstrip("#").strip())
        elif "meta=" in line:
            kind = re.search(r'"type":\s*"([^"]+)"', line).group(1)


def raw_input(text):
    text = re.sub(r"\\\n", "", text)
    text = text.replace("\n", "\r\n")
    for name, char in (("r", "\r"), ("n", "\n"), ("t", "\t"), ("f", "\f")):
        text = text.replace("\\" + name, char)
    text = re.sub(r"\\x([0-9a-fA-F]{2})", lambda m: chr(int(m.group(1), 16)), text)
    return text.encode("latin-1") if all(ord(c) < 256 for c in text) else text.encode("utf-8")


def unescape(text):
    return re.sub(r"\\([rntf])", lambda m: {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}[m[1]], text)


def messages_of(log):
    """Messages as the log tells them, and whether it ends in an error."""
    messages, error = [], False
    for line in log:
        begin = re.match(r"off=(\d+) message begin", line)
        span = re.match(r'off=\d+ len=\d+ span\[(\w+)\]="(.*)"$', line)
        if begin:
            messages.append({"begin": int(begin[1]), "url": "", "method": "", "version": "", "names": [],
                             "values": [], "body": "", "open": None, "complete": False})
        elif span and messages:
            message, (name, text) = messages[-1], (span[1], unescape(span[2]))
            if name == "header_field":
                if message["open"] != "name":
                    message["names"].append("")
                message["open"] = "name"
                message["names"][-1] += text
            elif name == "header_value":
                if message["open"] != "value":
                    message["values"].append("")
                message["open"] = "value"
                message["values"][-1] += text
            elif name in ("url", "method", "version", "body"):
                message[name] += text
        elif "header_value complete" in line and messages:
            message = messages[-1]
            if len(message["values"]) < len(message["names"]):
                message["values"].append("")
            message["open"] = None
        elif "headers complete" in line and messages:
            messages[-1]["headers"] = True
        elif "message complete" in line and messages:
            messages[-1]["complete"] = True
        elif "error code=" in line:
            # 22: a pause of its own before another protocol, which is not ours
            error = error or "code=22" not in line and "code=21" not in line
    return messages, error


def with_hosts(data, messages):
    """A Host where a message has none."""
    for message in reversed(messages):
        if any(name.lower() == "host" for name in message["names"]):
            continue
        line = re.compile(rb"\r\n").search(data, message["begin"] + len(message["method"]) + 1)
        if line:
            data = data[: line.end()] + b"Host: added\r\n" + data[line.end():]
    return data


def same_messages(messages, told):
    """None, or what differs. `told` is describe.h's text."""
    heads = re.findall(r"^(?! |body |refused |closed |end$|more$)(\S+) (.+) 1\.(\d) (?:keep|close) host=.*\n((?:  .*\n)*)(body (\d+) (\w+)\n)?",
                       told, re.M)
    messages = [m for m in messages if m["complete"] or m.get("headers")]
    for message, head in zip(messages, heads):
        fields = re.findall(r"  ([^=]+)=(.*)\n", head[3])
        fields = [f for f in fields if f != ("Host", "added")]
        wanted = [(n, v.strip(" \t")) for n, v in zip(message["names"], message["values"])]
        if (message["method"], message["url"], message["version"]) != (head[0], head[1], "1." + head[2]):
            return "request line"
        if not fields[:len(wanted)] == wanted and not message["names"][len(fields):]:
            return "fields %r" % (fields,)
        body = message["body"].encode("latin-1", "replace")
        if message["complete"] and head[4] and (int(head[5]) != len(body) or int(head[6], 16) != fnv(body)):
            return "body"
    return None if len(heads) >= len(messages) else "%d messages" % len(heads)


def check_markdown(parser, folder):
    failures, used = [], set()
    for name in sorted(os.listdir(folder)):
        cases = list(markdown_cases(os.path.join(folder, name)))
        parsed = [messages_of(log) for _, _, _, log in cases]
        inputs = [with_hosts(c[2], p[0]) for c, p in zip(cases, parsed)]
        tells = parser.tell(inputs)
        # Ours judges whole lines: what is refused in the middle of a last line is refused at its end.
        ended = parser.tell([data + b"\r\n\r\n" for data in inputs])
        for index, ((title, kind, data, _), (messages, error), told) in enumerate(zip(cases, parsed, tells)):
            key = (name, title) if [c[0] for c in cases].count(title) == 1 else (name, "%s #%d" % (title, index))
            lenient = "lenient" in kind
            wanted = error or lenient
            if wanted and told.endswith("more\n"):
                told = ended[index]
            refused = refused_in(told)
            if wanted and re.search(r"^closed [1-9]", told, re.M):
                continue  # bytes after a request without keep-alive are dropped: as good as refusing them
            if "SPLITS DIFFER" in told:
                failures.append((key, "splits differ", told))
            elif refused and not wanted:
                used.add(key)
                if STRICTER.get(key) != refused:
                    failures.append((key, "refused: " + refused, told))
            elif wanted and not refused:
                used.add(key)
                if key not in WIDER:
                    failures.append((key, "accepted" + (" (lenient)" if lenient else ""), told))
            elif not refused:
                differs = same_messages(messages, told)
                if differs:
                    used.add(key)
                    if key not in WIDER:
                        failures.append((key, differs, told))
    failures += [(key, "listed, but does not differ", "") for key in (STRICTER.keys() | WIDER.keys()) - used]
    return failures


# ---- http-desync ----


def scalar(text):
    text = text.strip()
    if text.startswith('"'):
        body = text[1:text.rindex('"')]
        names = {"r": "\r", "n": "\n", "t": "\t", "0": "\0"}
        return re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.))",
                      lambda m: chr(int(m[1], 16)) if m[1] else names.get(m[2], m[2]), body)
    if text.startswith("'"):
        return text[1:text.rindex("'")].replace("''", "'")
    return text


def yaml_cases(path):
    """The little of YAML that the files use."""
    case, cases = None, []
    for line in open(path, encoding="utf-8"):
        found = re.match(r"( *)(- )?(\w+):(?: (.*))?$", line.rstrip("\n"))
        if not found or line.lstrip().startswith("#"):
            continue
        indent, dash, key, value = len(found[1]), found[2], found[3], scalar(found[4] or "")
        if indent == 0 and dash:
            case = {"name": value, "headers": []}
            cases.append(case)
        elif dash and key == "name":
            case["headers"].append([value, ""])
        elif key == "value":
            case["headers"][-1][1] = value
        elif key in ("uri", "method", "version"):
            case[key] = value
        elif key == "tier" and indent == 4:
            case["tier"] = value
    return cases


def request_of(case):
    headers = list(case["headers"])
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ["Host", "added"])
    lines = " ".join((case["method"], case["uri"], case["version"])).rstrip(" ") + "\r\n"
    lines += "".join("%s:%s\r\n" % (name, value) for name, value in headers) + "\r\n"
    return lines.encode("latin-1", "replace")


def check_desync(parser, folder):
    failures, used = [], set()
    for name in sorted(os.listdir(folder)):
        cases = yaml_cases(os.path.join(folder, name))
        tells = parser.tell([request_of(case) for case in cases])
        for index, (case, told) in enumerate(zip(cases, tells)):
            key = (name, "%s #%d" % (case["name"], index))
            refused = refused_in(told)
            if "SPLITS DIFFER" in told:
                failures.append((key, "splits differ", told))
            elif case["tier"] == "Severe":
                if not refused:
                    failures.append((key, "severe, and accepted", told))
            elif refused:
                used.add(key)
                if DESYNC_STRICTER.get(key) != refused:
                    failures.append((key, "%s, and refused: %s" % (case["tier"], refused), told))
    failures += [(key, "listed, but not refused", "") for key in DESYNC_STRICTER.keys() - used]
    return failures


def main():
    program, root = sys.argv[1:3]
    vectors = os.environ.get("YATA_VECTORS", os.path.join(root, "..", "shared", "vectors"))
    requests, desync = (os.path.join(vectors, *p) for p in (("http1-parser", "request"), ("http-desync",)))
    if not os.path.isdir(requests) or not os.path.isdir(desync):
        print("skipped: no vectors in", vectors)
        return 77
    parser = Parser(program)
    failures = check_markdown(parser, requests) + check_desync(parser, desync)
    for key, what, told in failures:
        print("%s: %s\n    %s" % (key, what, told.replace("\n", "\n    ")))
    print("%d failures" % len(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
