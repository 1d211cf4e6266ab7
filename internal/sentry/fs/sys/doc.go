// Package sys is sysfs as a container's programs read it: processors, network
// interfaces, a few switches of the kernel, and the place where cgroups are
// mounted. It has no locks.
package sys
