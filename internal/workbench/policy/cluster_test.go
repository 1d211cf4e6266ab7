//go:build kubernetes

package policy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// cluster is a kube-apiserver with its etcd, on loopback; no controller, no
// scheduler, no node: what is tried is what the API server lets in.
type cluster struct {
	t     testing.TB
	url   string
	token string
	http  *http.Client
}

// startCluster starts both; they end with the test, or with its process.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	server := os.Getenv("KUBE_APISERVER")
	if server == "" {
		t.Fatal("KUBE_APISERVER names no program: run make test-kubernetes")
	}
	dir := t.TempDir()
	etcd, peer, port := freePort(t), freePort(t), freePort(t)
	start(t, dir, "etcd", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", "http://127.0.0.1:"+etcd,
		"--advertise-client-urls", "http://127.0.0.1:"+etcd, "--listen-peer-urls", "http://127.0.0.1:"+peer,
		"--initial-advertise-peer-urls", "http://127.0.0.1:"+peer, "--initial-cluster", "default=http://127.0.0.1:"+peer)
	key, tokens := filepath.Join(dir, "sa.key"), filepath.Join(dir, "tokens.csv")
	writeKey(t, key)
	c := &cluster{t: t, url: "https://127.0.0.1:" + port, token: randomToken(t)}
	if err := os.WriteFile(tokens, []byte(c.token+",admin,1,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, server, "--etcd-servers", "http://127.0.0.1:"+etcd, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", filepath.Join(dir, "certs"), "--token-auth-file", tokens, "--authorization-mode", "RBAC",
		"--service-account-key-file", key, "--service-account-signing-key-file", key, "--service-account-issuer", "https://kubernetes.default.svc",
		"--service-cluster-ip-range", "10.0.0.0/24", "--allow-privileged=true", "--profiling=false")
	c.waitReady(filepath.Join(dir, "certs", "apiserver.crt"))
	return c
}

func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func randomToken(t testing.TB) string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", b)
}

func writeKey(t testing.TB, path string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs a server until the test ends. PDEATHSIG (prctl(2)) fires when the
// thread that forked ends, so that thread is kept for as long as the server.
func start(t testing.TB, dir, program string, args ...string) {
	t.Helper()
	name := filepath.Base(program)
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		stop()
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		stop() // kills
		<-ended
		log.Close()
		if t.Failed() {
			data, _ := os.ReadFile(log.Name())
			if len(data) > 4000 {
				data = data[len(data)-4000:]
			}
			t.Logf("the end of what %s wrote:\n%s", name, data)
		}
	})
}

// waitReady waits for the server, whose own certificate is the only one trusted.
func (c *cluster) waitReady(cert string) {
	c.t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	var last error
	for ; time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if c.http == nil {
			data, err := os.ReadFile(cert)
			pool := x509.NewCertPool()
			if err != nil || !pool.AppendCertsFromPEM(data) {
				last = err
				continue
			}
			c.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
		}
		a, err := c.try("GET", "/readyz", "", nil)
		if err == nil && a.code == http.StatusOK {
			return
		}
		last = err
		if err == nil {
			last = errors.New(a.text)
		}
	}
	c.t.Fatalf("kube-apiserver does not answer: %v", last)
}

// reply is the API server's.
type reply struct {
	code int
	text string
	body map[string]any
}

func (r reply) ok() bool { return r.code >= 200 && r.code < 300 }

// message is the status' message, or the body.
func (r reply) message() string {
	if m, ok := r.body["message"].(string); ok {
		return m
	}
	return r.text
}

func (c *cluster) try(method, path, contentType string, body []byte) (reply, error) {
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{code: resp.StatusCode, text: string(data)}
	_ = json.Unmarshal(data, &r.body) // readyz is text
	return r, nil
}

func (c *cluster) do(method, path, contentType string, body []byte) reply {
	c.t.Helper()
	r, err := c.try(method, path, contentType, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// must is do for what has to work.
func (c *cluster) must(r reply) reply {
	c.t.Helper()
	if !r.ok() {
		c.t.Fatalf("%d: %s", r.code, r.message())
	}
	return r
}

// resources are the paths of the kinds used here.
var resources = map[string]string{
	"Namespace": "/api/v1/namespaces", "Pod": "/api/v1/namespaces/NS/pods", "ServiceAccount": "/api/v1/namespaces/NS/serviceaccounts",
	"ReplicationController": "/api/v1/namespaces/NS/replicationcontrollers", "Deployment": "/apis/apps/v1/namespaces/NS/deployments",
	"ReplicaSet": "/apis/apps/v1/namespaces/NS/replicasets", "StatefulSet": "/apis/apps/v1/namespaces/NS/statefulsets",
	"DaemonSet": "/apis/apps/v1/namespaces/NS/daemonsets", "Job": "/apis/batch/v1/namespaces/NS/jobs", "CronJob": "/apis/batch/v1/namespaces/NS/cronjobs",
	"RuntimeClass":                     "/apis/node.k8s.io/v1/runtimeclasses",
	"ValidatingAdmissionPolicy":        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
	"ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
	"MutatingAdmissionPolicy":          "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
	"MutatingAdmissionPolicyBinding":   "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
}

func pathFor(kind, namespace string) string {
	p, ok := resources[kind]
	if !ok {
		panic("no path for kind " + kind)
	}
	return strings.Replace(p, "NS", namespace, 1)
}

func (c *cluster) create(namespace string, object map[string]any) reply {
	c.t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do("POST", pathFor(object["kind"].(string), namespace), "application/json", data)
}

// patch is a JSON merge patch (RFC 7386) of an object or its subresource.
func (c *cluster) patch(kind, namespace, name, patch string) reply {
	c.t.Helper()
	return c.do("PATCH", pathFor(kind, namespace)+"/"+name, "application/merge-patch+json", []byte(patch))
}

// apply applies manifests as kubectl apply --server-side does.
func (c *cluster) apply(text string) {
	c.t.Helper()
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o map[string]any
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.t.Fatal(err)
		}
		data, err := json.Marshal(o)
		if err != nil {
			c.t.Fatal(err)
		}
		kind, name := o["kind"].(string), o["metadata"].(map[string]any)["name"].(string)
		r := c.do("PATCH", pathFor(kind, "")+"/"+name+"?fieldManager=bulkhead&fieldValidation=Strict", "application/apply-patch+yaml", data)
		if !r.ok() {
			c.t.Fatalf("apply %s %s: %d: %s", kind, name, r.code, r.message())
		}
	}
}

// eventually waits until what the server's caches lag behind has arrived.
func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
	}
	c.t.Fatalf("%s: not within a minute", what)
}
