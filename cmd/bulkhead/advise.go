package main

func init() {
	register(&command{
		name:  "advise",
		args:  "[--runs N] [--baseline runc|native|none] -- COMMAND…",
		short: "run a command behind the Sentry, and recommend a runtime for it",
		examples: "bulkhead advise -- python3 job.py\n" +
			"bulkhead advise -o json --baseline none -- ./server --self-test",
		workbench: true,
		setup:     workbench("advise"),
	})
}
