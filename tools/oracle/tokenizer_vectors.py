#!/usr/bin/env python3
"""Makes trainloop/tokenizer/testdata: what Hugging Face's tokenizers library (0.23.3) does, for
march's tests to repeat. Run from the repository's root, with the package `tokenizers` installed:

    python tools/oracle/tokenizer_vectors.py            # rewrites the committed files
    python tools/oracle/tokenizer_vectors.py --out /tmp/vectors --strings 20000 --seed 7
    go test ./trainloop/tokenizer -args -vectors /tmp/vectors    # a larger test, once

text.txt      documents to train on, separated by <|endoftext|> lines
trained.json  ByteLevelBPETokenizer trained on them; march's training must write the same bytes
added.json    the same with added tokens of every kind
sparse.json   a vocabulary without all bytes, with unk_token, ignore_merges, a space put before
              the text, and merges in the form of earlier versions ("a b")
unicode.json  sha256 of the class of every code point, one byte each ("L", "N", "S" or "O" for GPT-2's pattern;
              "1" or "0" for a word character beside single_word tokens; surrogates are O and 0)
shared.json   only where --data names a folder with corpus/, blimp/ and lambada/: sha256 of a vocabulary of 4,000
              trained on corpus/sample.txt, and of the ids it gives corpus/test.txt, BLiMP and LAMBADA
vectors.jsonl strings with their ids, and ids with their text, in each of the three; "ordinary" is added.json
              with special tokens read as text; "added" missing equals "trained", "ordinary" missing "added"
"""
import argparse
import hashlib
import json
import os
import random
import struct

from tokenizers import ByteLevelBPETokenizer, Tokenizer, decoders, models, pre_tokenizers, trainers

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


def read(path):
    with open(path, encoding="utf-8", newline="") as f:
        return f.read()


def shared(folder):
    """Digests over larger texts: sha256 of all ids as little-endian int32, -1 behind each text."""
    documents = {n: read(f"{folder}/corpus/{n}.txt").rstrip("\n").split("\n<|endoftext|>\n") for n in ("sample", "test")}
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(documents["sample"], vocab_size=4000, min_frequency=2, special_tokens=SPECIALS, show_progress=False)
    texts = {"test": documents["test"], "blimp": [], "lambada": []}
    for name in sorted(os.listdir(f"{folder}/blimp")):
        if name.endswith(".jsonl"):
            for line in read(f"{folder}/blimp/{name}").splitlines():
                item = json.loads(line)
                texts["blimp"] += [item["sentence_good"], item["sentence_bad"]]
    texts["lambada"] = [json.loads(line)["text"] for line in read(f"{folder}/lambada/lambada_test.jsonl").split("\n") if line]
    out = {"tokenizer": hashlib.sha256(trained.to_str(pretty=True).encode()).hexdigest()}
    for name, list_ in texts.items():
        digest, count = hashlib.sha256(), 0
        for text in list_:
            ids = trained.encode(text, add_special_tokens=False).ids
            count += len(ids)
            digest.update(struct.pack(f"<{len(ids) + 1}i", *ids, -1))
        out[name] = {"texts": len(list_), "ids": count, "sha256": digest.hexdigest()}
    return out


def code_points():
    return (c for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="trainloop/tokenizer/testdata")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--strings", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
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

    files = {n: Tokenizer.from_file(os.path.join(args.out, n + ".json")) for n in ("trained", "added", "sparse")}
    classes = {"split": split_classes(), "word": word_classes(files["added"])}
    write("unicode.json", json.dumps({k: hashlib.sha256(v).hexdigest() for k, v in classes.items()}, indent=2) + "\n")
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
