package policy

import "io"

// Main runs the command with these arguments, the name of the program left out.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int { return 2 }
