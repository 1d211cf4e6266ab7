# git: init, add, commit, branch, merge, rebase, clone, gc, worktree over many files.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@x GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@x GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0
git -c init.defaultBranch=main init -q r; cd r; git config gc.auto 0; git config core.pager cat
for d in $(seq 20); do mkdir d$d; for f in $(seq 20); do echo "file $f of $d" > d$d/f$f; done; done
git add .; git commit -qm first; want "$(git ls-files | wc -l)" 400; want "$(git status --porcelain | wc -l)" 0
echo changed >> d1/f1; rm d2/f2; echo new > new; want "$(git status --porcelain | wc -l)" 3; git add -A; git commit -qm second
git checkout -qb side HEAD~1; echo side > side; git add side; git commit -qm side; git checkout -q main; git merge -q --no-edit side; want "$(git rev-list --count HEAD)" 4
git log --oneline --graph | grep -q side; git diff HEAD~1 --stat | grep -q side; git blame d1/f1 | grep -q changed
git checkout -qb topic HEAD~1; for i in 1 2 3; do echo $i > topic$i; git add topic$i; git commit -qm "topic $i"; done; git rebase -q main; want "$(git log --format=%s -1)" "topic 3"
git stash list >/dev/null; echo dirty >> new; git stash -q; want "$(git status --porcelain | wc -l)" 0; git stash pop -q; git checkout -q new
git tag -m t v1; git gc -q --prune=now; git fsck --strict >/dev/null 2>&1; want "$(find .git/objects -name '*.pack' | wc -l)" 1
cd ..; git clone -q r c1; git clone -q --bare r b.git; git clone -q --no-local "file://$PWD/b.git" c2; want "$(git -C c2 ls-files | wc -l)" "$(git -C c1 ls-files | wc -l)"
cd c2; git checkout -q topic; echo pushed > p; git add p; git commit -qm push; git push -q origin topic; cd ..; want "$(git -C b.git log -1 --format=%s topic)" push
git -C r worktree add -q ../wt main 2>/dev/null; [ -f wt/d1/f1 ] || die worktree; git -C r format-patch -q -1 topic --stdout > patch; git -C wt am -q ../patch; git -C wt log -1 --format=%s | grep -q "topic 3"
git -C r archive topic | tar -t | grep -qx topic3; git -C r grep -q "file 3 of 3" topic
cd r; git bisect reset >/dev/null 2>&1 || true; git bisect start HEAD HEAD~3 >/dev/null 2>&1; git bisect run sh -c '[ ! -e topic2 ]' >bisect.log 2>&1; grep -q "first bad commit" bisect.log; git bisect reset >/dev/null 2>&1
for i in 1 2 3 4; do (cd .. && git clone -q r par$i) & done; wait; [ -d ../par4/d20 ] || die "parallel clones"
