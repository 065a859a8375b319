// SPDX-License-Identifier: Apache-2.0
#include "kube_api/control_plane.h"

#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <sched.h>
#include <unistd.h>

#include <fmt/format.h>

#include "common/fd.h"

namespace weir::test {
namespace fs = std::filesystem;

namespace {

using namespace std::chrono_literals;

/// As programs.sh built it before the tests; "" if it did not.
std::string tool(const std::string& package) {
    const char* const cache = std::getenv("XDG_CACHE_HOME");
    const char* const home = std::getenv("HOME");
    const fs::path base =
        cache != nullptr ? fs::path(cache) : fs::path(home != nullptr ? home : "/root") / ".cache";
    const auto built = run({"env", "WEIR_GO_BUILD=no", WEIR_GO_TOOL, base / "weir/tools", package});
    if (!built.ok()) return "";
    return built.out.substr(0, built.out.find('\n'));
}

const std::string& server_program() {
    static const std::string program = tool("k8s.io/kubernetes/cmd/kube-apiserver");
    return program;
}

const std::string& kubectl_program() {
    static const std::string program = tool("k8s.io/kubernetes/cmd/kubectl");
    return program;
}

/// Newer than Debian's, which is too old to stream lists from.
const std::string& etcd_program() {
    static const std::string program = tool("go.etcd.io/etcd/server/v3");
    return program;
}

std::string must(const std::vector<std::string>& argv, std::chrono::milliseconds deadline = 60s) {
    auto outcome = run(argv, {.deadline = deadline});
    if (outcome.ok()) return std::move(outcome.out);
    throw std::runtime_error(argv[0] + " " + argv[1] + ": " + outcome.describe());
}

void write(const fs::path& file, std::string_view text) {
    std::ofstream(file, std::ios::binary) << text;
}

}  // namespace

std::string ControlPlane::missing() {
    if (::geteuid() != 0) return "needs root";
    if (server_program().empty() || kubectl_program().empty() || etcd_program().empty()) {
        return "kube-apiserver, kubectl and etcd are not built: tests/kube_api/programs.sh "
               "kube-apiserver kubectl etcd";
    }
    return "";
}

ControlPlane::ControlPlane(Net net) {
    std::string pattern = (fs::temp_directory_path() / "weir-api.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    dir_ = pattern;
    if (net == Net::kOwn) {
        if (::unshare(CLONE_NEWNET) != 0) throw std::runtime_error("unshare");
        must({"ip", "link", "set", "lo", "up"});
    }
    make_pki();
    etcd_.emplace(std::vector<std::string>{etcd_program(), "--data-dir", dir_ / "etcd",
                                           "--unsafe-no-fsync", "--listen-client-urls",
                                           "http://127.0.0.1:2379", "--advertise-client-urls",
                                           "http://127.0.0.1:2379", "--listen-peer-urls",
                                           "http://127.0.0.1:2380", "--log-level", "warn"},
                  Process::Options{{}, dir_ / "etcd.log"});
    start_server();
}

ControlPlane::~ControlPlane() {
    server_.reset();
    etcd_.reset();
    std::error_code ignored;
    if (std::getenv("WEIR_TEST_KEEP") == nullptr) fs::remove_all(dir_, ignored);
}

std::string ControlPlane::url(uint16_t port) {
    return "https://127.0.0.1:" + std::to_string(port);
}

void ControlPlane::sign(const std::string& name, const std::string& subject,
                        const std::string& names) const {
    const auto path = [&](const std::string& end) { return (dir_ / (name + end)).string(); };
    must({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
          "-keyout", path(".key"), "-out", path(".csr"), "-subj", subject});
    std::string extensions = "extendedKeyUsage=serverAuth,clientAuth\n";
    if (!names.empty()) extensions += "subjectAltName=" + names + "\n";
    write(path(".ext"), extensions);
    must({"openssl", "x509", "-req", "-in", path(".csr"), "-CA", dir_ / "ca.crt", "-CAkey",
          dir_ / "ca.key", "-CAcreateserial", "-days", "2", "-out", path(".crt"), "-extfile",
          path(".ext")});
}

void ControlPlane::make_pki() const {
    must({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
          "-nodes", "-keyout", dir_ / "ca.key", "-out", dir_ / "ca.crt", "-subj", "/CN=test-ca",
          "-days", "2"});
    must({"openssl", "genrsa", "-out", dir_ / "sa.key", "2048"});
    must({"openssl", "rsa", "-in", dir_ / "sa.key", "-pubout", "-out", dir_ / "sa.pub"});
    sign("server", "/CN=kube-apiserver",
         "IP:127.0.0.1,IP:192.0.2.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc");
    (void)kubeconfig("admin", "system:masters");
}

fs::path ControlPlane::kubeconfig(const std::string& user, const std::string& groups,
                                  const std::string& server) const {
    if (!fs::exists(dir_ / (user + ".crt"))) {
        sign(user, (groups.empty() ? "" : "/O=" + groups) + "/CN=" + user, "");
    }
    const fs::path file = dir_ / (user + (server.empty() ? "" : ".proxied") + ".conf");
    write(file, fmt::format(R"(apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: {{server: "{}", certificate-authority: ca.crt}}
users:
- name: {}
  user: {{client-certificate: {}.crt, client-key: {}.key}}
contexts:
- name: test
  context: {{cluster: test, user: {}}}
current-context: test
)",
                            server.empty() ? url() : server, user, user, user, user));
    return file;
}

void ControlPlane::start_server(std::optional<std::vector<std::string>> more_flags) {
    if (more_flags) more_flags_ = *std::move(more_flags);
    std::vector<std::string> argv{
        server_program(),
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=127.0.0.1",
        "--secure-port=" + std::to_string(kPort),
        "--advertise-address=192.0.2.1",  // not of loopback
        "--authorization-mode=RBAC",
        "--client-ca-file=" + (dir_ / "ca.crt").string(),
        "--tls-cert-file=" + (dir_ / "server.crt").string(),
        "--tls-private-key-file=" + (dir_ / "server.key").string(),
        "--service-account-key-file=" + (dir_ / "sa.pub").string(),
        "--service-account-signing-key-file=" + (dir_ / "sa.key").string(),
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
        "--disable-admission-plugins=ServiceAccount"};
    argv.insert(argv.end(), more_flags_.begin(), more_flags_.end());
    server_.emplace(argv, Process::Options{{}, dir_ / "server.log"});
    if (!eventually([this] { return ready(); }, 180s)) {
        const auto tail = run({"tail", "-5", dir_ / "server.log"});
        throw std::runtime_error("the API server does not get ready: " + tail.out);
    }
}

void ControlPlane::kill_server() {
    server_.reset();
}

bool ControlPlane::ready() const {
    return run({kubectl_program(), "--kubeconfig", dir_ / "admin.conf", "get", "--raw", "/readyz"},
               {.deadline = 10s})
        .ok();
}

std::string ControlPlane::kubectl(std::vector<std::string> arguments) const {
    std::vector<std::string> argv{kubectl_program(), "--kubeconfig", dir_ / "admin.conf"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return must(argv, 300s);
}

void ControlPlane::apply(std::string_view yaml) const {
    const fs::path file = dir_ / "objects.yaml";
    write(file, yaml);
    kubectl({"apply", "--server-side", "-f", file});
}

void ControlPlane::make_agent(const std::string& user) const {
    const auto rules = [](const char* file) {
        return read_file(fs::path(WEIR_CHART_FILES) / file).value();
    };
    constexpr std::string_view kGroup = "rbac.authorization.k8s.io";
    const auto document = [&](const std::string& kind, const std::string& ns,
                              const std::string& rest) {
        return fmt::format("---\napiVersion: {}/v1\nkind: {}\nmetadata: {{name: {}{}}}\n{}\n",
                           kGroup, kind, user, ns, rest);
    };
    const auto binding = [&](const std::string& to) {
        return fmt::format(
            "roleRef: {{apiGroup: {0}, kind: {1}, name: {2}}}\n"
            "subjects: [{{apiGroup: {0}, kind: User, name: {2}}}]",
            kGroup, to, user);
    };
    const std::string ns = ", namespace: kube-system";
    apply(document("ClusterRole", "", "rules:\n" + rules("clusterrole-rules.yaml")) +
          document("ClusterRoleBinding", "", binding("ClusterRole")) +
          document("Role", ns, "rules:\n" + rules("role-rules.yaml")) +
          document("RoleBinding", ns, binding("Role")));
}

void ControlPlane::make_kinds() const {
    const auto file = fs::path(WEIR_CHART_FILES).parent_path() / "crds/clusternetworkpolicies.yaml";
    apply(read_file(file).value());
    kubectl({"wait", "--for=condition=Established", "crd",
             "clusternetworkpolicies.policy.networking.k8s.io"});
}

FaultProxy::FaultProxy(const ControlPlane& plane, uint16_t port)
    : port_(port), faults_(plane.dir() / fmt::format("faults-{}.json", port)) {
    set({});
    process_.emplace(std::vector<std::string>{WEIR_FAULT_PROXY, plane.dir(), std::to_string(port),
                                              std::to_string(ControlPlane::kPort), faults_},
                     Process::Options{{}, plane.dir() / "proxy.log"});
}

void FaultProxy::set(const std::vector<std::string>& faults) const {
    const fs::path next = faults_.string() + ".new";
    std::string text;
    for (const auto& fault : faults)
        text += fault + "\n";
    write(next, text);
    fs::rename(next, faults_);
}

}  // namespace weir::test
