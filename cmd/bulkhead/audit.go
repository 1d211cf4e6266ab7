package main

func init() {
	register(&command{
		name:  "audit",
		args:  "[--runtime A,B] [--out DIR] [--fail-on LIST] | show AUDIT.json | cases",
		short: "show what each wall leaves of the host's kernel in a container's reach",
		examples: "bulkhead audit --out report\n" +
			"bulkhead audit --runtime bulkhead --fail-on 'weaker,guest>14,sentry>55,gofer>45'",
		workbench: true,
		setup:     workbench("audit"),
	})
}
