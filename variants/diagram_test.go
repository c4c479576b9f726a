package variants

import (
	"strings"
	"testing"
)

// TestDiagram: every variant has one, and it names what is special about it.
func TestDiagram(t *testing.T) {
	for _, name := range Names("") {
		for _, arch := range Archs(name) {
			v, err := Find(name, "paper", arch)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(v.Config.Diagram()) {
				if strings.Contains(line, "§") || strings.Contains(line, "%!") || len([]rune(line)) > 160 {
					t.Errorf("%s, %s: %q", name, arch, line)
				}
			}
		}
	}
	for name, want := range map[string][]string{
		"sharing/very_wide_cycle":       {"6 uses of 2 layers (0 1 0 1 0 1):", "x = x + wo·attention(norm x)", "causal, odd uses see 256"},
		"heads/baseline":                {"x = (embed.tokens + embed.positions)/2", "x = x + wo·attention(norm x, encoder)", "the encoder layer's keys and values; wq 512→512", "x = x/√d"},
		"heads/scaling_heads":           {"heads by layer: 12 of 64, 8 of 64, 4 of 64"},
		"heads/mixed_act":               {"down·(sigmoid(slow·norm x) + relu(fast·norm x))/2", "slow and fast 512→1365"},
		"heads/post_norm":               {"x = norm(x + down·relu(up·x))"},
		"heads/database":                {"learned keys and values [512,64]"},
		"heads/unified_attention":       {"over own keys and the encoder layer's"},
		"heads/big_heads_summed":        {"wo·pairs(attention(norm x))", "wo 448→448"},
		"gpt2+training.document_mask=1": {"causal; within a document"},
		"heads/rope":                    {"rotary positions", "x = embed.tokens "},
		"sharing/universal_act":         {"a position halts when its p sum to 0.99", "steps [6,384]"},
		"sharing/gqa":                   {"2 of keys and values", "wk and wv 384→128"},
		"heads/no_position":             {"x = embed.tokens"},
		"heads/kv_cross_attention":      {"wk and wv 512→512 of the encoder layer's"},
		"sharing/share_ffn":             {"one for the first 3 uses"},
		"heads/t5_relative_bias":        {"bias of 32 buckets"},
		"heads/tp_weights":              {"wo·(wr·norm x * attention(norm x))"},
		"heads/scaled_attention":        {"logits/√qkv_dim"},
		"heads/silu_glu":                {"down·(silu(gate·norm x) * up·norm x)"},
		"heads/more_heads_less_qkv_dim": {"16 heads of 32"},
	} {
		text := mustFind(t, name, "paper").Config.Diagram()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q is not in\n%s", name, w, text)
			}
		}
	}
}
