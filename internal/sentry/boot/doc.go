// Package boot makes a sandbox of its configuration: file systems, kernel,
// platform, the init process; it serves the control connection and ends with
// init's status. It is where the parts of the Sentry meet.
package boot
