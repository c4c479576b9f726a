// Package evalsuite scores language models, decoders, encoders and encoder-decoders: perplexity on a
// token stream (ppl), the embedded minimal pairs and cloze passages (grammar), BLiMP and LAMBADA. It
// neither trains nor builds models, and keeps no records: items and a [Model] go in, a [Result] and
// one [Prediction] an item come out. Start at [Run]; [NewBLiMP], [NewLAMBADA], [NewGrammar] and
// [NewPerplexity] make its suites, [NewONNXModel] the model.
//
// # Definitions
//
// Shapes: B rows of a batch, S positions, T positions of an encoder-decoder's decoder. All
// logarithms are natural.
//
// A sentence begins with the start token [tokenizer.EndOfText], which is what every document of the
// training stream begins with, and ends without one. The start token is never scored.
//
// A minimal pair counts as right if the good sentence's score is the higher one. Equal scores are a
// tie, which counts as wrong and is reported; pairs whose sentences have the same tokens are ties
// whatever the model. With Options.PerToken each score is first divided by the number of tokens that
// it sums over.
//
// A passage's target is its last word: everything after its last white space. The passage's tokens
// are the start token, the tokens of the context without the white space at its end, and the tokens
// of that white space together with the word (" word"); the latter are the target, white space
// included. Encoding the two parts apart is what other evaluation tools do, and with byte-level
// BPE, whose words begin with their space, it gives the same tokens as encoding the passage whole.
// The prediction is right if each of the target's tokens is the most likely one; perplexity is
// exp(mean over passages of −log p(whole target)).
//
// How an architecture gives a sentence, a target and a stream their log-probability is one type
// each, and all three are what a result's settings name:
//
//   - A decoder: the sum of log p(token | tokens before it). Windows of a stream follow each other
//     and every token but the stream's first is predicted once.
//   - An encoder: a sentence's score is its pseudo-log-likelihood, the sum of log p(token | all other
//     tokens), each token masked in a row of its own; with Options.WithinWord the later tokens of its
//     word are masked too. A target's tokens are masked all at once, their number being known, and
//     read off one row. Of a stream each token but the start tokens is masked in exactly one of
//     seven passes, a seventh of the tokens at random in each, as near to the training's 15 % as
//     whole passes come: all tokens count, none twice, and every model is asked the same, where a
//     single draw of 15 % would add noise of its own. Masked tokens are always replaced by the mask,
//     never by others as in training.
//   - An encoder-decoder: the text so far in the encoder, the continuation in the decoder, whose
//     input is the start token and the continuation shifted right. Of a pair the encoder has the
//     tokens with which both sentences begin, at least the start token and never all of a sentence;
//     of a passage all but the target; of a stream's window the first half, unless rows are given.
//     But in such rows no sentinels are used, also where training was span corruption.
//
// For a decoder the tokens that the sentences of a pair share at their beginning add the same to
// both, so the encoder-decoder's choice of sides asks what the decoder's sum asks. Perplexities do
// not compare between architectures, and results say so.
//
// Texts longer than the model keep their last tokens: a decoder MaxLength()+1 (the first of them is
// only read, never scored), an encoder MaxLength(), an encoder-decoder as many on each side; how
// many items this touched is in the result.
//
// Sources: Warstadt and others, BLiMP, TACL 8 (2020), section 5 and table 4; Paperno and others,
// LAMBADA, ACL 2016; Radford and others, Language Models are Unsupervised Multitask Learners
// (2019), for the jsonl form of LAMBADA; Salazar and others, Masked Language Model Scoring, ACL
// 2020, for pseudo-log-likelihood; Lau, Clark and Lappin, Grammaticality, Acceptability, and
// Probability, Cognitive Science 41 (2017), for scores a token; Kauf and Ivanova, A Better Way to Do Masked Language Model
// Scoring, ACL 2023, for its form within words.
package evalsuite
