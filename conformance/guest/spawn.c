// posix_spawn, system, popen and what shells do: descriptors, groups, signals and pipelines of children.
#include "case.h"
#include <spawn.h>

static pid_t spawn(const char *path, posix_spawn_file_actions_t *fa, posix_spawnattr_t *at, char **argv) {
	pid_t p;
	PT(posix_spawn(&p, path, fa, at, argv, environ));
	return p;
}

CASE(plain) {
	char *a[] = {"sh", "-c", "exit 7", NULL};
	EXITS(spawn("/bin/sh", NULL, NULL, a), 7);
}

CASE(missing_program_is_reported) {
	pid_t p;
	char *a[] = {"x", NULL};
	EQ(posix_spawn(&p, "/no/such", NULL, NULL, a, environ), ENOENT);
	EQ(posix_spawn(&p, "/dev/null", NULL, NULL, a, environ), EACCES);
	ERR(waitpid(-1, NULL, 0), ECHILD);
}

CASE(searches_path) {
	pid_t p;
	char *a[] = {"true", NULL};
	PT(posix_spawnp(&p, "true", NULL, NULL, a, environ));
	JOIN(p);
}

CASE(file_actions) {
	int f[2];
	OK(pipe2(f, O_CLOEXEC));
	posix_spawn_file_actions_t fa;
	PT(posix_spawn_file_actions_init(&fa));
	PT(posix_spawn_file_actions_adddup2(&fa, f[1], 1));
	PT(posix_spawn_file_actions_addopen(&fa, 0, "in", O_RDONLY, 0));
	PT(posix_spawn_file_actions_addclose(&fa, 2));
	spew("in", "from a file\n");
	char *a[] = {"cat", NULL}, b[30] = "";
	pid_t p = spawn("/bin/cat", &fa, NULL, a);
	close(f[1]);
	readn(f[0], b, 12);
	STR(b, "from a file\n");
	JOIN(p);
	PT(posix_spawn_file_actions_init(&fa));
	PT(posix_spawn_file_actions_addopen(&fa, 5, "missing", O_RDONLY, 0));
	EQ(posix_spawn(&p, "/bin/cat", &fa, NULL, a, environ), ENOENT);
}

CASE(attributes) {
	posix_spawnattr_t at;
	PT(posix_spawnattr_init(&at));
	sigset_t def = sigs(SIGUSR1, 0), mask = sigs(SIGUSR2, 0);
	on_signal(SIGUSR1, SIG_IGN, 0);
	PT(posix_spawnattr_setsigdefault(&at, &def));
	PT(posix_spawnattr_setsigmask(&at, &mask));
	PT(posix_spawnattr_setpgroup(&at, 0));
	PT(posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP));
	char *a[] = {"sleep", "60", NULL};
	pid_t p = spawn("/bin/sleep", NULL, &at, a);
	EQ(getpgid(p), p);
	OK(kill(p, SIGUSR2)); // blocked there
	OK(kill(p, SIGUSR1)); // default again
	KILLED(p, SIGUSR1);
}

CASE(new_session) {
	posix_spawnattr_t at;
	PT(posix_spawnattr_init(&at));
	PT(posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSID));
	char *a[] = {"sleep", "60", NULL};
	pid_t p = spawn("/bin/sleep", NULL, &at, a);
	EQ(getsid(p), p);
	OK(kill(p, SIGKILL));
	KILLED(p, SIGKILL);
}

CASE(from_threads_at_once) {
	void *body(void *x) {
		for (int i = 0; i < 10; i++) {
			char *a[] = {"true", NULL};
			JOIN(spawn("/bin/true", NULL, NULL, a));
		}
		return x;
	}
	pthread_t t[4];
	for (int i = 0; i < 4; i++) PT(pthread_create(&t[i], NULL, body, NULL));
	for (int i = 0; i < 4; i++) PT(pthread_join(t[i], NULL));
}

CASE(system_returns_status) {
	EQ(WEXITSTATUS(OK(system("exit 5"))), 5);
	int st = OK(system("kill -9 $$"));
	CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	EQ(WEXITSTATUS(OK(system("no-such-command-anywhere 2>/dev/null"))), 127);
	CHECK(system(NULL));
}

CASE(popen_both_ways) {
	FILE *f = popen("echo one; echo two", "r");
	CHECK(f);
	char b[20];
	CHECK(fgets(b, sizeof b, f));
	STR(b, "one\n");
	CHECK(fgets(b, sizeof b, f));
	STR(b, "two\n");
	EQ(pclose(f), 0);
	f = popen("cat > out; exit 3", "w");
	CHECK(f);
	fputs("written", f);
	EQ(WEXITSTATUS(pclose(f)), 3);
	STR(slurp("out"), "written");
}

CASE(long_pipeline) {
	EQ(system("seq 1 20000 | cat | cat | cat | sort -n | tail -1 > out"), 0);
	STR(slurp("out"), "20000\n");
}

CASE(head_ends_the_writer) {
	EQ(system("bash -c 'set -o pipefail; yes | head -3 > out; echo ${PIPESTATUS[0]} > st'"), 0);
	STR(slurp("out"), "y\ny\ny\n");
	STR(slurp("st"), "141\n");
}

CASE(background_and_wait) {
	EQ(system("(sleep 0.1; echo a > a) & (sleep 0.1; echo b > b) & wait; cat a b > ab"), 0);
	STR(slurp("ab"), "a\nb\n");
}

CASE(traps) {
	EQ(WEXITSTATUS(system("bash -c 'trap \"echo got > t; exit 4\" TERM; kill $$; sleep 5'")), 4);
	STR(slurp("t"), "got\n");
	EQ(system("bash -c 'trap \"echo bye > e\" EXIT; true'"), 0);
	STR(slurp("e"), "bye\n");
}

CASE(timeout_command) {
	EQ(WEXITSTATUS(system("timeout 0.2 sleep 20")), 124);
	EQ(WEXITSTATUS(system("timeout -s KILL 0.2 sleep 20 2>/dev/null; exit $?")), 137);
	EQ(WEXITSTATUS(system("timeout 20 sh -c 'exit 3'")), 3);
}

CASE(here_documents_and_substitution) {
	EQ(system("x=$(cat <<E\nline $(echo inner)\nE\n); echo \"$x\" > out"), 0);
	STR(slurp("out"), "line inner\n");
	EQ(system("bash -c 'diff <(seq 3) <(seq 3) && paste <(echo a) <(echo b) > out'"), 0);
	STR(slurp("out"), "a\tb\n");
}

CASE(xargs_parallel) {
	EQ(system("seq 40 | xargs -P 4 -n 1 sh -c 'echo $0' | sort -n | tail -1 > out"), 0);
	STR(slurp("out"), "40\n");
}

CASE(fork_of_big_process_then_spawn) {
	char *big = anon(100 << 20);
	memset(big, 1, 100 << 20);
	char *a[] = {"true", NULL};
	for (int i = 0; i < 10; i++) JOIN(spawn("/bin/true", NULL, NULL, a));
}
