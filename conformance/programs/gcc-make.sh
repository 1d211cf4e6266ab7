# gcc and make: parallel builds, threads, fork, shared libraries, dlopen, sanitised exit codes.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

mkdir p; cd p
for i in $(seq 12); do echo "int f$i(int x) { return x + $i; }" > f$i.c; done
{ for i in $(seq 12); do echo "int f$i(int);"; done; echo '#include <stdio.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/wait.h>
static void *run(void *p) { long s = 0; for (int i = 0; i < 1000; i++) s += f3(i); *(long *)p = s; return 0; }
int main(void) { int s = 0;'; for i in $(seq 12); do echo "s = f$i(s);"; done; echo 'pthread_t t[4]; long r[4]; for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, run, &r[i]);
for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
pid_t p = fork(); if (p == 0) _exit(s == 78 ? 11 : 1); int st; waitpid(p, &st, 0);
printf("%d %ld %d\n", s, r[0] + r[3], WEXITSTATUS(st)); return 0; }'; } > main.c
printf 'O = main.o %s\nprog: $(O)\n\tgcc -pthread -o $@ $^\n%%.o: %%.c\n\tgcc -O1 -c -o $@ $<\nclean:\n\trm -f *.o prog\nfail:\n\tfalse\n.PHONY: clean fail\n' "$(for i in $(seq 12); do printf 'f%d.o ' $i; done)" > Makefile
make -j4 > log 2>&1 || die "$(cat log)"; want "$(./prog)" "78 1005000 11"; make | grep -q "up to date"; sleep 0.02; touch f5.c; make 2>&1 | grep -c "gcc" | grep -qx 2
make fail >/dev/null 2>&1 && die "make fail succeeded" || want $? 2; make -k -j2 clean >/dev/null; [ ! -e prog ] || die clean
gcc -shared -fPIC -o libf.so f1.c f2.c; printf '#include <dlfcn.h>\n#include <stdio.h>\nint main(void) { void *h = dlopen("./libf.so", RTLD_NOW); int (*f)(int) = dlsym(h, "f2"); printf("%%d\\n", f(40)); return 0; }\n' > d.c; gcc -o d d.c -ldl; want "$(./d)" 42
gcc -static -o st d.c 2>/dev/null || true; echo 'int main() { return 9; }' | gcc -x c - -o nine; set +e; ./nine; want $? 9; set -e
printf '#include <iostream>\n#include <thread>\n#include <vector>\n#include <stdexcept>\nint main() { std::vector<std::thread> v; int n[4]; for (int i = 0; i < 4; i++) v.emplace_back([&n, i] { n[i] = i; }); for (auto &t : v) t.join(); try { throw std::runtime_error("caught"); } catch (std::exception &e) { std::cout << e.what() << n[3] << std::endl; } }\n' > x.cc
if command -v g++ >/dev/null; then g++ -pthread -o x x.cc; want "$(./x)" caught3; fi
echo 'int main(void) { return undefined_thing; }' > bad.c; gcc bad.c -o bad 2>err && die "compiled" || grep -q undefined_thing err
ar rc lib.a f1.c 2>/dev/null; gcc -c f1.c; ar rcs libx.a f1.o; nm libx.a | grep -q f1; strip -o nine2 nine; ./nine2 || want $? 9; objdump -d nine | grep -q main; ldd ./d | grep -q libc
