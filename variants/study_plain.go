package variants

// plainStudy is what the reference workloads are made of.
func plainStudy() []entry {
	return []entry{{"plain", "gpt2", "GPT-2-like: all biases, scaled global attention",
		"Radford et al., GPT-2 (2019), as used for the reference workloads P1 and P2", []string{Decoder}, gpt2}}
}

// gpt2 has study sharing's sizes. The workloads have no dropout.
func gpt2(scale, arch string) (Config, error) {
	c, err := sharingBaseline(scale, arch)
	c.Bias.QKV = true
	c.Attn.Scaled, c.Attn.Local = true, "none"
	c.Dropout.Rate = 0
	return c, err
}
