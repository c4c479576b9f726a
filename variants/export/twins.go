package export

import (
	"fmt"
	"strings"

	"march/variants"
)

// The architectures of Hugging Face's transformers that some of march's configs are: the same function of the same
// parameters. Layers that share parameters become layers with equal ones, and a bias that march's model has not is one of
// zeros there.

// twin is one of them.
type twin struct {
	name  string // for people
	class string // transformers'
	kind  string // config.json's model_type
	arch  string
	// strip is the prefix that tensors' names may lack: files of the model without its head do.
	strip string
	// wants lists what a config must be; those that it is not are the reasons against.
	wants func(c variants.Config) []want
	// config are config.json's entries that say what the model is.
	config func(c variants.Config, pad int) []entry
	// tensors are the model's, all that are no copies of others.
	tensors func(c variants.Config, pad int) []tensor
}

// want is a demand on an axis.
type want struct {
	met  bool
	axis string
	have any
	want string
}

// entry is a key of config.json; usual is what transformers takes where it is missing, nil where it must not be.
type entry struct {
	key   string
	value any
	usual any
	axis  string // of march that it stands for
}

// tensor is one of theirs: parts of it are parameters of march.
type tensor struct {
	name  string
	shape []int
	parts []part
	// free: what no part covers may be anything; else it is zeros, a bias that march's model has not.
	free bool
}

// part is a parameter's place: its first row and column. Vectors are single rows.
type part struct {
	param      string
	row, col   int
	transposed bool // theirs is [out,in]
}

func twins() []twin { return []twin{gptNeo, gpt2, roberta} }

// activationNames are transformers' for march's; their derivatives aside they are the same functions.
var activationNames = map[string]string{
	"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu", "silu": "silu", "sigmoid": "sigmoid", "tanh": "tanh", "identity": "linear", "squared_relu": "relu2",
}

// common are the demands that all twins make.
func common(c variants.Config) []want {
	_, act := activationNames[c.Act]
	return []want{
		{c.KVHeads == 0 || c.KVHeads == c.Heads, "kv_heads", c.KVHeads, fmt.Sprintf("0 or heads %d", c.Heads)},
		{c.Heads*c.QKVDim == c.D, "qkv_dim", c.QKVDim, fmt.Sprintf("d/heads = %d/%d", c.D, c.Heads)},
		{c.HeadsByLayer == "", "heads_by_layer", c.HeadsByLayer, "all alike"},
		{c.QKVDimByLayer == "", "qkv_dim_by_layer", c.QKVDimByLayer, "all alike"},
		{!c.GLU, "glu", c.GLU, "false"},
		{c.Mix == "none", "mix", c.Mix, "none"},
		{act, "act", c.Act, "one of transformers'"},
		{c.Norm.Kind == "layer", "norm.kind", c.Norm.Kind, "layer"},
		{c.Attn.Residual, "attn.residual", c.Attn.Residual, "true"},
		{!c.Attn.Role, "attn.role", c.Attn.Role, "false"},
		{!c.Attn.Summed, "attn.summed", c.Attn.Summed, "false"},
		{c.Attn.Linformer == 0, "attn.linformer", c.Attn.Linformer, "0"},
		{c.Database.Rows == 0, "database.rows", c.Database.Rows, "0"},
		{c.Pos.Kind == "learned", "position.kind", c.Pos.Kind, "learned"},
		{c.Pos.Combine == "sum", "position.combine", c.Pos.Combine, "sum"},
		{!c.Output.Scaled, "output.scaled", c.Output.Scaled, "false"},
		{c.Halting.Kind == "none", "halting.kind", c.Halting.Kind, "none"},
		{!c.Share.StepEmbedding, "share.step_embedding", c.Share.StepEmbedding, "false"},
	}
}

// ofDecoder are the demands of both decoders.
func ofDecoder(c variants.Config) []want {
	return append(common(c),
		want{c.Norm.Place == "pre", "norm.place", c.Norm.Place, "pre"},
		want{!c.Norm.Embed, "norm.embed", c.Norm.Embed, "false"},
		want{!c.Output.Transform, "output.transform", c.Output.Transform, "false"},
		want{!c.Bias.Output, "bias.output", c.Bias.Output, "false"},
	)
}

var gptNeo = twin{
	name: "GPT-Neo", class: "GPTNeoForCausalLM", kind: "gpt_neo", arch: variants.Decoder, strip: "transformer.",
	wants: func(c variants.Config) []want {
		return append(ofDecoder(c), want{!c.Attn.Scaled, "attn.scaled", c.Attn.Scaled, "false"}, want{!c.Bias.QKV, "bias.qkv", c.Bias.QKV, "false"})
	},
	config: func(c variants.Config, _ int) []entry {
		layers, window := make([]any, c.Share.Uses), max(1, c.Length/2)
		types := []any{[]any{layers, 1}}
		for i := range layers {
			layers[i] = "global"
			if c.Attn.Local == "alternate" && i%2 == 1 {
				layers[i] = "local"
			}
		}
		return []entry{
			{"vocab_size", c.Vocab, 50257, "vocab"}, {"max_position_embeddings", c.Length, 2048, "length"}, {"hidden_size", c.D, 2048, "d"},
			{"num_layers", c.Share.Uses, 24, "share.uses"}, {"num_heads", c.Heads, 16, "heads"}, {"intermediate_size", c.FF, 4 * c.D, "ff"},
			{"attention_types", types, nil, "attn.local"}, {"window_size", window, 256, "length"},
			{"activation_function", activationNames[c.Act], "gelu_new", "act"}, {"layer_norm_epsilon", c.Norm.Eps, 1e-5, "norm.eps"},
			{"tie_word_embeddings", true, true, "output"},
		}
	},
	tensors: func(c variants.Config, _ int) []tensor {
		list := []tensor{table("transformer.wte.weight", "embed.tokens", c.Vocab, c.D), table("transformer.wpe.weight", "embed.positions", c.Length, c.D)}
		for use := range c.Share.Uses {
			at, attn, ff := places(c, use)
			h := fmt.Sprintf("transformer.h.%d.", use)
			a := h + "attn.attention."
			list = append(list, norm(h+"ln_1", at+"attn.norm", c.D)...)
			for _, x := range []string{"q", "k", "v"} {
				list = append(list, tensor{name: a + x + "_proj.weight", shape: []int{c.D, c.D}, parts: []part{{param: attn + "w" + x, transposed: true}}})
			}
			list = append(list, linear(a+"out_proj", attn+"wo", attn+"bo", c.D, c.D)...)
			list = append(list, norm(h+"ln_2", ff+"norm", c.D)...)
			list = append(list, linear(h+"mlp.c_fc", ff+"up", ff+"up_bias", c.D, c.FF)...)
			list = append(list, linear(h+"mlp.c_proj", ff+"down", ff+"down_bias", c.FF, c.D)...)
		}
		return append(list, norm("transformer.ln_f", "decoder.norm", c.D)...)
	},
}

var gpt2 = twin{
	name: "GPT-2", class: "GPT2LMHeadModel", kind: "gpt2", arch: variants.Decoder, strip: "transformer.",
	wants: func(c variants.Config) []want {
		return append(ofDecoder(c), want{c.Attn.Local == "none", "attn.local", c.Attn.Local, "none"})
	},
	config: func(c variants.Config, _ int) []entry {
		return []entry{
			{"vocab_size", c.Vocab, 50257, "vocab"}, {"n_positions", c.Length, 1024, "length"}, {"n_embd", c.D, 768, "d"}, {"n_layer", c.Share.Uses, 12, "share.uses"},
			{"n_head", c.Heads, 12, "heads"}, {"n_inner", c.FF, 4 * c.D, "ff"}, {"activation_function", activationNames[c.Act], "gelu_new", "act"},
			{"layer_norm_epsilon", c.Norm.Eps, 1e-5, "norm.eps"}, {"scale_attn_weights", c.Attn.Scaled, true, "attn.scaled"},
			{"scale_attn_by_inverse_layer_idx", false, false, "attn.scaled"}, {"tie_word_embeddings", true, true, "output"},
		}
	},
	tensors: func(c variants.Config, _ int) []tensor {
		list := []tensor{table("transformer.wte.weight", "embed.tokens", c.Vocab, c.D), table("transformer.wpe.weight", "embed.positions", c.Length, c.D)}
		for use := range c.Share.Uses {
			at, attn, ff := places(c, use)
			h := fmt.Sprintf("transformer.h.%d.", use)
			matrices, biases := tensor{name: h + "attn.c_attn.weight", shape: []int{c.D, 3 * c.D}}, tensor{name: h + "attn.c_attn.bias", shape: []int{3 * c.D}}
			for i, x := range []string{"q", "k", "v"} {
				matrices.parts = append(matrices.parts, part{param: attn + "w" + x, col: i * c.D})
				biases.parts = append(biases.parts, part{param: attn + "b" + x, col: i * c.D})
			}
			list = append(list, norm(h+"ln_1", at+"attn.norm", c.D)...)
			list = append(list, matrices, biases)
			list = append(list, conv1D(h+"attn.c_proj", attn+"wo", attn+"bo", c.D, c.D)...)
			list = append(list, norm(h+"ln_2", ff+"norm", c.D)...)
			list = append(list, conv1D(h+"mlp.c_fc", ff+"up", ff+"up_bias", c.D, c.FF)...)
			list = append(list, conv1D(h+"mlp.c_proj", ff+"down", ff+"down_bias", c.FF, c.D)...)
		}
		return append(list, norm("transformer.ln_f", "decoder.norm", c.D)...)
	},
}

var roberta = twin{
	name: "RoBERTa", class: "RobertaForMaskedLM", kind: "roberta", arch: variants.Encoder, strip: "roberta.",
	wants: func(c variants.Config) []want {
		return append(common(c),
			want{c.Norm.Place == "post", "norm.place", c.Norm.Place, "post"},
			want{c.Norm.Embed, "norm.embed", c.Norm.Embed, "true"},
			want{c.Attn.Scaled, "attn.scaled", c.Attn.Scaled, "true"},
			want{c.Output.Transform, "output.transform", c.Output.Transform, "true"},
			want{c.Act == "gelu", "act", c.Act, "gelu, which its output layer always has"},
		)
	},
	config: func(c variants.Config, pad int) []entry {
		return []entry{
			{"vocab_size", c.Vocab, 50265, "vocab"}, {"max_position_embeddings", c.Length + pad + 1, 512, "length"}, {"hidden_size", c.D, 768, "d"},
			{"num_hidden_layers", c.Share.Uses, 12, "share.uses"}, {"num_attention_heads", c.Heads, 12, "heads"}, {"intermediate_size", c.FF, 3072, "ff"},
			{"hidden_act", activationNames[c.Act], "gelu", "act"}, {"layer_norm_eps", c.Norm.Eps, 1e-12, "norm.eps"}, {"type_vocab_size", 1, 2, "embed"},
			{"tie_word_embeddings", true, true, "output"},
		}
	},
	tensors: func(c variants.Config, pad int) []tensor {
		e := "roberta.embeddings."
		list := []tensor{
			table(e+"word_embeddings.weight", "embed.tokens", c.Vocab, c.D),
			// Its first position stands behind the padding's.
			{name: e + "position_embeddings.weight", shape: []int{c.Length + pad + 1, c.D}, parts: []part{{param: "embed.positions", row: pad + 1}}, free: true},
			{name: e + "token_type_embeddings.weight", shape: []int{1, c.D}},
		}
		list = append(list, norm(e+"LayerNorm", "embed.norm", c.D)...)
		for use := range c.Share.Uses {
			at, attn, ff := places(c, use)
			h := fmt.Sprintf("roberta.encoder.layer.%d.", use)
			for _, name := range []string{"query", "key", "value"} {
				list = append(list, linear(h+"attention.self."+name, attn+"w"+name[:1], attn+"b"+name[:1], c.D, c.D)...)
			}
			list = append(list, linear(h+"attention.output.dense", attn+"wo", attn+"bo", c.D, c.D)...)
			list = append(list, norm(h+"attention.output.LayerNorm", at+"attn.norm", c.D)...)
			list = append(list, linear(h+"intermediate.dense", ff+"up", ff+"up_bias", c.D, c.FF)...)
			list = append(list, linear(h+"output.dense", ff+"down", ff+"down_bias", c.FF, c.D)...)
			list = append(list, norm(h+"output.LayerNorm", ff+"norm", c.D)...)
		}
		list = append(list, linear("lm_head.dense", "output.dense", "output.dense_bias", c.D, c.D)...)
		list = append(list, norm("lm_head.layer_norm", "output.norm", c.D)...)
		return append(list, vector("lm_head.bias", "output.bias", c.Vocab))
	},
}

// places are the prefixes of a use's parameters: its layer's, its attention's and its feed-forward layer's.
func places(c variants.Config, use int) (at, attn, ff string) {
	at = fmt.Sprintf("%s.%d.", c.Arch, c.Share.Layer(use))
	ff = at + "ff."
	if j := c.FFLayer(use); j >= 0 {
		ff = fmt.Sprintf("%s.ff.%d.", c.Arch, j)
	}
	return at, at + "attn.", ff
}

func table(name, param string, rows, d int) tensor {
	return tensor{name: name, shape: []int{rows, d}, parts: []part{{param: param}}}
}

func vector(name, param string, n int) tensor {
	return tensor{name: name, shape: []int{n}, parts: []part{{param: param}}}
}

func norm(name, param string, d int) []tensor {
	return []tensor{vector(name+".weight", param+".weight", d), vector(name+".bias", param+".bias", d)}
}

// linear is PyTorch's layer, whose weight is [out,in].
func linear(name, weight, bias string, in, out int) []tensor {
	return []tensor{{name: name + ".weight", shape: []int{out, in}, parts: []part{{param: weight, transposed: true}}}, vector(name+".bias", bias, out)}
}

// conv1D is GPT-2's layer, whose weight is [in,out].
func conv1D(name, weight, bias string, in, out int) []tensor {
	return []tensor{{name: name + ".weight", shape: []int{in, out}, parts: []part{{param: weight}}}, vector(name+".bias", bias, out)}
}

// twinOf finds the architecture that a config is. The error names the axes that the nearest one has otherwise.
func twinOf(c variants.Config) (twin, error) {
	var nearest twin
	var reasons []string
	var known []string
	for _, t := range twins() {
		known = append(known, t.name)
		if t.arch != c.Arch {
			continue
		}
		var list []string
		for _, w := range t.wants(c) {
			if !w.met {
				list = append(list, fmt.Sprintf("%s is %v, wanted %s", w.axis, w.have, w.want))
			}
		}
		if len(list) == 0 {
			return t, nil
		}
		if nearest.name == "" || len(list) < len(reasons) {
			nearest, reasons = t, list
		}
	}
	if nearest.name == "" {
		return nearest, fmt.Errorf("no model of transformers that march knows is its twin: arch is %s, and those are %s", c.Arch, strings.Join(known, ", "))
	}
	return nearest, fmt.Errorf("no model of transformers that march knows is its twin; for %s, the nearest, %s", nearest.name, strings.Join(reasons, "; "))
}
