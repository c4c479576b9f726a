// Command march generates transformer variants as ONNX training graphs, trains and
// evaluates them on ONNX Runtime, and prints the comparison. Here flags come in, calls
// go down, results go to stdout and logs to stderr; no model, graph or table is made
// here. Start at commands, the table below, and at command.go, which says what a
// command is; each has a file of its own.
package main

import "os"

// commands lists what march can do, in the order of its help.
func commands() []command {
	return []command{
		listCommand,
		showCommand,
		inspectCommand,
		genCommand,
		dataCommand,
		trainCommand,
		evalCommand,
		generateCommand,
		exportCommand,
		benchCommand,
		tableCommand,
		reportCommand,
		metricsCommand,
		doctorCommand,
		perfCommand,
		versionCommand,
	}
}

func main() {
	ctx := onSignals()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
