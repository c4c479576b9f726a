#!/usr/bin/env python3
"""Makes trainloop/tokenizer/testdata: what Hugging Face's tokenizers library (0.23.3) does, for
march's tests to repeat. Run from the repository's root, with the package `tokenizers` installed:

    python tools/oracle/tokenizer_vectors.py            # rewrites the committed files
    python tools/oracle/tokenizer_vectors.py --out /tmp/vectors --strings 20000 --seed 7
    go test ./trainloop/tokenizer -args -vectors /tmp/vectors    # a larger test, once

    python tools/oracle/tokenizer_vectors.py --exchange /tmp/exchange    # all of BLiMP and LAMBADA, three vocabularies
    go test ./trainloop/tokenizer -run Exchange -args -exchange /tmp/exchange
    python tools/oracle/tokenizer_vectors.py --back /tmp/exchange        # and the files that march wrote meanwhile

text.txt      documents to train on, separated by <|endoftext|> lines
trained.json  ByteLevelBPETokenizer trained on them; march's training must write the same bytes
added.json    the same with added tokens of every kind
sparse.json   a vocabulary without all bytes, with unk_token, ignore_merges, a space put before
              the text, and merges in the form of earlier versions ("a b")
unicode.json  sha256 of the class of every code point, one byte each ("L", "N", "S" or "O" for GPT-2's pattern;
              "1" or "0" for a word character beside single_word tokens, for each property of patterns and for Digits;
              surrogates are O and 0); sha256 of what normalizers make of each code point c, and of "a" c U+0334 U+0301
shared.json   only where --data names a folder with corpus/, blimp/ and lambada/: sha256 of a vocabulary of 4,000
              trained on corpus/sample.txt, and of the ids it gives corpus/test.txt, BLiMP and LAMBADA
loose.json    a vocabulary whose merges go across words, so that ids show where a text was split
configs.json  parts of tokenizer.json that take the place of those of loose.json: split patterns, normalizers and added
              tokens as files in use have them, with digests of the ids of all strings below and of texts of 1 MB
strings.jsonl 2,000 strings, each with the start of the sha256 of its ids in all of configs.json, one behind the other
pieces.json   what the texts of 1 MB are put together from (see `large`): English, source code, emoji, mixed scripts
vectors.jsonl strings with their ids, and ids with their text, in each of the three; "ordinary" is added.json
              with special tokens read as text; "added" missing equals "trained", "ordinary" missing "added"
"""
import argparse
import hashlib
import json
import os
import random
import struct

from tokenizers import ByteLevelBPETokenizer, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIALS = ["<|endoftext|>", "<|pad|>", "<|mask|>"]

PARAGRAPHS = [
    "The keeper of the lighthouse counted ships. She'd counted ships for years, and she'll count them again: "
    "twelve before breakfast, 47 before the rain, 1,203 in the whole of 1911.\n\n\"They're late,\" said the boy. "
    "\"They've been late since Monday.\"\n\n\"It's the fog,\" she said. \"I'm sure it's the fog; it didn't lift, it won't lift.\"",
    "def count(ships, since=1911):\n    total = 0\n    for ship in ships:\n        if ship.year >= since:\n"
    "            total += 1  # one more\n    return total\n\n\nprint(count([], since=2_000))\n",
    "Der Leuchtturmwärter zählte Schiffe. Größere Schiffe zählte er doppelt, die übrigen einfach.\r\n"
    "Le gardien du phare comptait les bateaux; l'été, il en comptait davantage.\r\n\r\nFin.",
    "Ο φύλακας του φάρου μετρούσε τα πλοία. Смотритель маяка считал корабли. 灯台守は船を数えた。등대지기는 배를 세었다.",
    "fog fog fog\tfog\t\tship 🚢🚢 lamp 💡, keeper 👩‍🔧 -- ... !!! ---- ==== aaaa aaaaaaa ab abc abcabc bcbc",
]

NAMES = "keeper lighthouse ship harbour fog lamp rain breakfast captain letter island winter".split()


def documents(rng):
    """Paragraphs and made-up sentences: enough repetition for a few hundred merges."""
    docs = list(PARAGRAPHS)
    for _ in range(60):
        sentences = []
        for _ in range(rng.randrange(2, 6)):
            a, b, c = (rng.choice(NAMES) for _ in range(3))
            sentences.append(rng.choice([
                f"The {a} waited for the {b}, but the {c} didn't come.",
                f"On day {rng.randrange(1, 400)} the {a}'s {b} was older than the {c}.",
                f"\"Where's the {a}?\" asked the {b}. \"We've lost it,\" said the {c}.",
            ]))
        docs.append(rng.choice([" ", "\n", "\n\n"]).join(sentences))
    return docs


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = CL100K.replace("{1,3}", "")
TIKTOKEN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + SHORT
         + r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + SHORT
         + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
            r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(use_regex=False, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def steps(*all):
    return {"type": "Sequence", "pretokenizers": list(all)}


def forms(*all):
    return {"type": "Sequence", "normalizers": list(all)}


NORMALIZED = [dict(content="Ship", normalized=True), dict(content="LAMP", normalized=True, single_word=True, lstrip=True),
              dict(content="ﬁn", normalized=True), dict(content="ÅÅ", normalized=True), dict(content="Fog", special=True)]
DIGITS = {"type": "Digits", "individual_digits": True}
CASES = r"(?i:[kmps]|x\d{2,3})"

# What takes the place of a part of loose.json. The first are named after models whose files look so.
CONFIGS = {
    "llama3": {"pre_tokenizer": steps(split(CL100K), byte_level()), "ignore_merges": True, "added": [
        dict(content=f"<|reserved_{i}|>", special=True) for i in range(3)]},
    "qwen": {"normalizer": {"type": "NFC"}, "pre_tokenizer": steps(split(QWEN), byte_level())},
    "gpt4": {"pre_tokenizer": steps(split(CL100K, "Removed", True), byte_level())},
    "tiktoken": {"pre_tokenizer": steps(split(TIKTOKEN), byte_level())},
    "gpt4o": {"pre_tokenizer": steps(split(O200K), byte_level())},
    "starcoder": {"pre_tokenizer": steps(DIGITS, byte_level(True))},
    "deepseek": {"pre_tokenizer": steps(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), byte_level())},
    "deepseek coder": {"pre_tokenizer": steps(
        split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"), DIGITS, byte_level())},
    "bloom": {"pre_tokenizer": steps(split(" ?[^(\\s|[.,!?…。，、।۔،])]+"), byte_level())},
    "neox": {"normalizer": {"type": "NFC"}, "pre_tokenizer": byte_level(True), "added": [
        dict(content=" " * n, normalized=True) for n in range(24, 1, -1)]},
    "roberta": {"pre_tokenizer": byte_level(True, True), "added": [dict(content="<mask>", lstrip=True, special=True)]},
    "falcon": {"pre_tokenizer": steps(byte_level(True), {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]"))},
    "gpt2 by regex": {"pre_tokenizer": steps(split(GPT2), byte_level())},
    "nothing": {"pre_tokenizer": byte_level()},
    "folded": {"normalizer": forms({"type": "NFKC"}, {"type": "Lowercase"}), "pre_tokenizer": byte_level(True), "added": NORMALIZED},
    "nfd": {"normalizer": {"type": "NFD"}, "pre_tokenizer": byte_level(True), "added": NORMALIZED},
    "nfkd": {"normalizer": forms({"type": "Lowercase"}, {"type": "NFKD"}), "pre_tokenizer": byte_level(), "added": NORMALIZED},
    "rewritten": {"normalizer": forms(
        {"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "Replace", "pattern": {"Regex": " {2,}|ship(?=s)"}, "content": "é"},
        {"type": "Replace", "pattern": {"String": "fog"}, "content": ""}, {"type": "Prepend", "prepend": "▁"}),
        "pre_tokenizer": steps(split("s", "MergedWithPrevious", kind="String"), byte_level(True, True)), "added": NORMALIZED},
    "before": {"pre_tokenizer": steps(split("[aeiou ]", "MergedWithPrevious"), byte_level())},
    "after": {"pre_tokenizer": steps(split(r"(?>[aeiou]|\s)", "MergedWithNext"), byte_level())},
    "runs": {"pre_tokenizer": steps(split(r"[^\S\n]|\x{e9}|\u4e2d|\d", "Contiguous"), byte_level())},
    "without": {"pre_tokenizer": steps(split(r"[\s,.]+?(?!\s)", "Removed"), byte_level())},
    "turned": {"pre_tokenizer": steps(split(CASES, "MergedWithNext", True), byte_level(True))},
    "one by one": {"pre_tokenizer": steps(split(r"(?:.{2}|\n)", "Isolated"), byte_level())},
}

LARGE = ["llama3", "qwen", "gpt4o", "starcoder"]  # these encode the texts of 1 MB

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz",
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ     \n",
    " \t\n\r\u000b\u000c\u0085\u00a0\u1680\u2003\u2028\u3000",
    "0123456789 ,.٣½Ⅷ²一",
    "'\"!?.,;:-_()[]{}<>/\\|@#$%^&*+=~`",
    "äöüßéèñçøåłšžāđ ÄÖÜ",
    "αβγδεжзийклعربيעבריתहिन्दीไทย日本語中文한국어 ",
    "e\u0301a\u0308\u0300\u200d\u200c\ufe0f\u20e3\ufeff",
    "🚢💡👩‍🔧👍🏽🇩🇪🏴‍☠️ ",
    "\u0000\u0001\u001f\u007f\u0080\u009f\u00ad\ufffd\ufffe\uffff\U0001ffff\U0010ffff",
    "\u1c89\ua7cb\U000105c0\U00010d40\U000116d0\U0002ebf0\U00010d4a\U0001e5f1 a1",
]

WORDS = (NAMES + SPECIALS + [
    "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'l", "'r", "'", "’s", "didn't", "we're", "I'M", "  ", "   ", "\n", "\n\n", "\r\n",
    "\r\n\r\n", " \n ", "\t\t", "<|endoftext", "|>", "<", "WORD", "WORDS", "LEFT", "RIGHT", "BOTH", "LATER", "two words", "two", "é", "xyz", "a" * 90,
    "-" * 130, " " * 70, "abcabcabc" * 20, "1911", "x1y2", "3.14", "http://x.org/?a=b&c=d",
])


def strings(rng, count):
    out = ["", " ", "\n", "a", "'", "''", "'s", " 's", "  's", "a  ", "a \n", " \n a", "\u3000 a", "a\u3000\u3000b"]
    while len(out) < count:
        parts = []
        for _ in range(rng.randrange(1, 7)):
            kind = rng.random()
            if kind < 0.45:
                parts.append(rng.choice(WORDS))
                parts.append(rng.choice(["", "", " ", " "]))
            elif kind < 0.9:
                alphabet = rng.choice(ALPHABETS)
                parts.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 9))))
            else:
                c = 0xD800
                while 0xD800 <= c < 0xE000:
                    c = rng.randrange(rng.choice([0x100, 0x3000, 0x10000, 0x110000]))
                parts.append(chr(c))
        out.append("".join(parts))
    return out


def added_token(content, id, **flags):
    token = dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    token.update(flags)
    return token


def split_classes():
    """The class of each code point, found by where it joins a letter, a digit, a question mark."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    out = bytearray(b"O" * 0x110000)
    for c in code_points():
        starts = {span[0] for _, span in gpt2.pre_tokenize_str("a{0}1{0}?{0}?".format(chr(c)))}
        out[c] = ord("L" if 1 not in starts else "N" if 3 not in starts else "O" if 5 not in starts else "S")
    return bytes(out)


def word_classes(tokenizer):
    """Whether each code point keeps the single_word token WORD beside it from being one."""
    word = tokenizer.token_to_id("WORD")
    out = bytearray(b"0" * 0x110000)
    for c in code_points():
        if tokenizer.encode("WORD" + chr(c), add_special_tokens=False).ids[0] != word:
            out[c] = ord("1")
    return bytes(out)


PROPERTIES = "L Lu Ll Lt Lm Lo M N Nd Nl No P S Z Zs Han Hiragana Katakana Hangul".split()


def property_classes():
    """Which code points \\p{…} matches, and Digits."""
    points = list(code_points())
    text = "".join(map(chr, points))
    out = {}
    for name in PROPERTIES:
        mine = bytearray(b"0" * 0x110000)
        matches = pre_tokenizers.Split(Regex(r"\p{%s}+" % name), "removed", invert=True)
        for _, (start, end) in matches.pre_tokenize_str(text):
            for c in points[start:end]:
                mine[c] = ord("1")
        out[name] = hashlib.sha256(mine).hexdigest()
    digits, mine = pre_tokenizers.Digits(individual_digits=True), bytearray(b"0" * 0x110000)
    for c in points:
        if len(digits.pre_tokenize_str(f"a{chr(c)}a")) == 3:
            mine[c] = ord("1")
    return dict(out, Digits=hashlib.sha256(mine).hexdigest())


def normalized():
    out = {}
    for name in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"]:
        form, text = getattr(normalizers, name)(), hashlib.sha256()
        for c in code_points():
            text.update((form.normalize_str(chr(c)) + form.normalize_str("a" + chr(c) + "\u0334\u0301")).encode())
        out[name] = text.hexdigest()
    return out


def read(path):
    with open(path, encoding="utf-8", newline="") as f:
        return f.read()


def benchmarks(folder):
    texts = {"blimp": []}
    for name in sorted(os.listdir(f"{folder}/blimp")):
        if name.endswith(".jsonl"):
            for line in read(f"{folder}/blimp/{name}").splitlines():
                item = json.loads(line)
                texts["blimp"] += [item["sentence_good"], item["sentence_bad"]]
    texts["lambada"] = [json.loads(line)["text"] for line in read(f"{folder}/lambada/lambada_test.jsonl").split("\n") if line]
    return texts


def exchange(folder, out):
    """Writes three vocabularies of 4,000, trained by the library with other split patterns and
    normalizers, the texts, one JSON string a line, and digests of the ids."""
    os.makedirs(out, exist_ok=True)
    documents = read(f"{folder}/corpus/sample.txt").rstrip("\n").split("\n<|endoftext|>\n")
    texts = dict(benchmarks(folder), documents=documents)
    for name, list_ in texts.items():
        with open(f"{out}/{name}.jsonl", "w", encoding="utf-8", newline="") as f:
            f.writelines(json.dumps(text) + "\n" for text in list_)
    digests = {}
    for name in ["gpt2 by regex", "llama3", "qwen"]:
        t = Tokenizer(models.BPE())
        parts = {k: CONFIGS[name].get(k) for k in ("normalizer", "pre_tokenizer")}
        empty = json.loads(t.to_str())
        t = Tokenizer.from_str(json.dumps(dict(empty, **parts)))
        t.decoder = decoders.ByteLevel()
        t.train_from_iterator(documents, trainers.BpeTrainer(
            vocab_size=4000, special_tokens=SPECIALS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
        t.save(f"{out}/{name}.json")
        digests[name] = {k: digest([e.ids for e in t.encode_batch(v, add_special_tokens=False)]) for k, v in texts.items()}
    with open(f"{out}/digests.json", "w") as f:
        json.dump(digests, f)


def back(out):
    """Whether the files that march wrote give the ids that march gave, for all texts."""
    texts = {name: [json.loads(line) for line in read(f"{out}/{name}.jsonl").split("\n") if line] for name in ("blimp", "lambada", "documents")}
    for name, digests in json.loads(read(f"{out}/back/digests.json")).items():
        t = Tokenizer.from_file(f"{out}/back/{name}.json")
        for k, want in digests.items():
            if digest([e.ids for e in t.encode_batch(texts[k], add_special_tokens=False)]) != want:
                raise SystemExit(f"{name}: the library gives other ids for {k}")
        print(f"{name}: the same ids for {', '.join(f'{len(texts[k])} texts of {k}' for k in digests)}")


def shared(folder):
    """Digests over larger texts: sha256 of all ids as little-endian int32, -1 behind each text."""
    documents = {n: read(f"{folder}/corpus/{n}.txt").rstrip("\n").split("\n<|endoftext|>\n") for n in ("sample", "test")}
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(documents["sample"], vocab_size=4000, min_frequency=2, special_tokens=SPECIALS, show_progress=False)
    texts = dict(test=documents["test"], **benchmarks(folder))
    out = {"tokenizer": hashlib.sha256(trained.to_str(pretty=True).encode()).hexdigest()}
    for name, list_ in texts.items():
        digest, count = hashlib.sha256(), 0
        for text in list_:
            ids = trained.encode(text, add_special_tokens=False).ids
            count += len(ids)
            digest.update(struct.pack(f"<{len(ids) + 1}i", *ids, -1))
        out[name] = {"texts": len(list_), "ids": count, "sha256": digest.hexdigest()}
    return out


def digest(list_of_ids):
    """sha256 of ids as little-endian int32, -1 behind each list."""
    out = hashlib.sha256()
    for ids in list_of_ids:
        out.update(struct.pack(f"<{len(ids) + 1}i", *ids, -1))
    return out.hexdigest()


def configured(loose, config):
    """loose.json with the parts of one of CONFIGS."""
    made = json.loads(json.dumps(loose))
    made["normalizer"] = config.get("normalizer")
    made["pre_tokenizer"] = config["pre_tokenizer"]
    made["model"]["ignore_merges"] = config.get("ignore_merges", False)
    next_id = len(made["model"]["vocab"])
    for token in config.get("added", []):
        made["added_tokens"].append(added_token(id=next_id, **token))
        next_id += 1
    return made


PIECES = {
    "English": PARAGRAPHS[0].replace("\n\n", " \n\n ").split(" ") + [
        "It's", "I'LL", "O'Neill's", "—", "“well”", "the", "of", "and", "to", "1,204,366", "3.14", "co-operate", "naïve", "Mr.", "\n", "\t"],
    "source code": ["def f(x):\n", "    return x[i] + 1\n", "\tif err != nil {\r\n\t\treturn err\r\n\t}\r\n", "}\n\n", "// TODO\n", "/* a\n * b\n */",
                    "x_1", "camelCase", "HTTPServer", "0xdeadBEEF", "1e-12", " = ", " == ", "::", "->", "();", "<T>", "&&", "||", "'a'", '"\\n"', "#!/bin/sh\n",
                    "        ", "  ", "  \n", "\n\n\n", "for (int i = 0; i < 10000; i++) ", "lambda x: x**2", "\\\\", "`", "日本 = 1 # ok\n"],
    "emoji": ["🚢", "💡", "👩‍🔧", "👍🏽", "🇩🇪", "🏴‍☠️", "❤️", "☺", "1️⃣", "👨‍👩‍👧‍👦", "😀😀", " ", "ok ", "!", "\n", "🫠", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "(╯°□°)╯", "♥️ "],
    "mixed scripts": ["привет ", "Мир", "γειά ", "Ὀδυσσεύς ", "日本語", "中文，", "한국어 ", "\u1112\u1161\u11ab ", "العربية ", "עברית ", "हिन्दी ", "ไทย", "Tiếng Việt ",
                      "e\u0301\u0323", "Å", "A\u030aÅ", "ﬁ ", "½", "²", "٣٤٥", "१२३", "Ⅷ", "ß", "İ", "ǅ", "ŉ", "\u0344", "\u0958", "\ufb1d", "ſ ", "'ſ", "\u200d", "\u3000",
                      "\u00a0", "\u2028", "!?", "。", "abc ", "DEF", "\U0001d7d8", "\U00011935\U00011930", "\u1ac0\u0301", "a" + "\u0301" * 33 + "\u0323", "\U0002f800", "\n"],
}


def large(pieces, size=1_000_000):
    """A text of about size bytes: pieces chosen by a generator that is easily written twice."""
    out, n, x = [], 0, 1
    while n < size:
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        piece = pieces[(x >> 33) % len(pieces)]
        out.append(piece)
        n += len(piece.encode())
    return "".join(out)


def code_points():
    return (c for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="trainloop/tokenizer/testdata")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--exchange", metavar="DIR")
    parser.add_argument("--back", metavar="DIR")
    parser.add_argument("--strings", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.exchange:
        exchange(args.data, args.exchange)
        return
    if args.back:
        back(args.back)
        return
    os.makedirs(args.out, exist_ok=True)

    def write(name, text):
        with open(os.path.join(args.out, name), "w", encoding="utf-8", newline="") as f:
            f.write(text)

    docs = documents(random.Random(1911))
    write("text.txt", "\n<|endoftext|>\n".join(docs))

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(docs, vocab_size=480, min_frequency=2, special_tokens=SPECIALS, show_progress=False)
    write("trained.json", trained.to_str(pretty=True))

    added = json.loads(trained.to_str())
    next_id = len(added["model"]["vocab"])
    for i, token in enumerate([
        dict(content="WORD", single_word=True), dict(content="LEFT", lstrip=True), dict(content="RIGHT", rstrip=True, normalized=True),
        dict(content="BOTH", lstrip=True, rstrip=True, special=True), dict(content="two words"), dict(content="LATER", normalized=True),
        dict(content="two", normalized=True, single_word=True), dict(content="WORDS"), dict(content=" xyz", normalized=True, rstrip=True), dict(content="é日"),
    ]):
        added["added_tokens"].append(added_token(id=next_id + i, **token))
    added["added_tokens"].append(added_token("ship", id=added["model"]["vocab"]["ship"], single_word=True))
    write("added.json", json.dumps(added, ensure_ascii=False, separators=(",", ":")))

    sparse = Tokenizer(models.BPE(unk_token="<unk>"))
    sparse.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    sparse.decoder = decoders.ByteLevel()
    sparse.train_from_iterator(docs, trainers.BpeTrainer(vocab_size=420, special_tokens=["<unk>", "<|endoftext|>"], show_progress=False))
    sparse = json.loads(sparse.to_str())
    sparse["model"]["ignore_merges"] = True
    sparse["model"]["fuse_unk"] = True
    sparse["model"]["merges"] = [" ".join(m) for m in sparse["model"]["merges"][:-40]]  # the last 40 words exist only whole
    write("sparse.json", json.dumps(sparse, ensure_ascii=False, separators=(",", ":")))

    if os.path.isdir(args.data):
        write("shared.json", json.dumps(shared(args.data), indent=2) + "\n")

    loose = Tokenizer(models.BPE())
    loose.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    loose.decoder = decoders.ByteLevel()
    noise = random.Random(8)
    loose.train_from_iterator(
        docs + strings(noise, 4000) + ["".join(noise.choices(p, k=9)) for p in PIECES.values() for _ in range(300)],
        trainers.BpeTrainer(vocab_size=2000, special_tokens=SPECIALS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    loose = json.loads(loose.to_str())
    loose["model"]["merges"] = [" ".join(m) for m in loose["model"]["merges"]]
    write("loose.json", json.dumps(loose, ensure_ascii=False, separators=(",", ":")))
    write("pieces.json", json.dumps(PIECES, ensure_ascii=False, indent=0) + "\n")
    more = random.Random(args.seed + 1)
    texts = strings(more, max(1000, args.strings))
    mixed = [p for pieces in PIECES.values() for p in pieces] + WORDS
    texts += ["".join(more.choices(mixed, k=more.randrange(1, 9))) for _ in texts]
    texts_large = {name: large(pieces) for name, pieces in PIECES.items()}
    ids, configs = [[] for _ in texts], {}
    for name, config in CONFIGS.items():
        t = Tokenizer.from_str(json.dumps(configured(loose, config)))
        mine = [e.ids for e in t.encode_batch(texts, add_special_tokens=False)]
        for i, row in enumerate(mine):
            ids[i] += row + [-1]
        configs[name] = dict(config, strings=digest(mine))
        if name in LARGE:
            configs[name]["large"] = {k: digest([t.encode(v, add_special_tokens=False).ids]) for k, v in texts_large.items()}
    write("configs.json", "{\n" + ",\n".join(json.dumps(k) + ": " + json.dumps(v, ensure_ascii=False) for k, v in configs.items()) + "\n}\n")
    write("strings.jsonl", "".join(
        json.dumps([text, digest([row])[:8]], ensure_ascii=False, separators=(",", ":")) + "\n" for text, row in zip(texts, ids)))

    files = {n: Tokenizer.from_file(os.path.join(args.out, n + ".json")) for n in ("trained", "added", "sparse")}
    classes = {"split": split_classes(), "word": word_classes(files["added"])}
    write("unicode.json", json.dumps(dict(
        {k: hashlib.sha256(v).hexdigest() for k, v in classes.items()}, properties=property_classes(), normalized=normalized()), indent=2) + "\n")
    rng = random.Random(args.seed)
    lines = []
    for text in strings(rng, args.strings):
        row = {"text": text}
        for name, t in files.items():
            row[name] = t.encode(text, add_special_tokens=False).ids
        files["added"].encode_special_tokens = True
        row["ordinary"] = files["added"].encode(text, add_special_tokens=False).ids
        files["added"].encode_special_tokens = False
        if row["ordinary"] == row["added"]:
            del row["ordinary"]
        if row["added"] == row["trained"]:
            del row["added"]
        lines.append(row)
    for _ in range(args.strings // 4):
        row = {}
        for name, t in files.items():
            ids = [rng.randrange(t.get_vocab_size()) for _ in range(rng.randrange(1, 10))]
            if rng.random() < 0.5:
                ids = [rng.randrange(3, 259) for _ in ids]  # single bytes: seldom UTF-8
            row["decode_" + name] = {"ids": ids, "text": t.decode(ids, skip_special_tokens=False)}
        lines.append(row)
    write("vectors.jsonl", "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in lines))


if __name__ == "__main__":
    main()
