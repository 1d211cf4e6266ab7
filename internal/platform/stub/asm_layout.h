/* The numbers of layout.h that assembly needs; stub.c asserts that they agree. */
#define PRIV_BASE_A 0x7ff010000000
#define PRIV_SIZE_A 0x10000
#define MAX_SLOTS_A 4096
#define T_SELF 0
#define T_STACK_TOP 8
#define T_SAVED_RSP 16
#define T_SAVED_RIP 24
#define T_KICKED 32
