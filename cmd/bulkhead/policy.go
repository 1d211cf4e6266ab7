package main

func init() {
	register(&command{
		name:  "policy",
		args:  "init | check FILE | explain FILE... | render kubernetes|containerd|runbook | schema",
		short: "choose a runtime for each workload by rule, and have Kubernetes enforce it",
		examples: "bulkhead policy init > policy.yaml\n" +
			"bulkhead policy explain --policy policy.yaml pod.yaml\n" +
			"bulkhead policy render kubernetes --policy policy.yaml | kubectl apply -f -",
		workbench: true,
		setup:     workbench("policy"),
	})
}
