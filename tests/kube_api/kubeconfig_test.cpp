// SPDX-License-Identifier: Apache-2.0
#include "kube/api/kubeconfig.h"

#include <fstream>

#include <gmock/gmock.h>

#include "kube/api/base64.h"

namespace weir::kube::api {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::string_view kConfig = R"(apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: lab
  cluster:
    server: https://[fd00::1]:6443
    certificate-authority-data: Y2E=
    tls-server-name: kubernetes
- name: other
  cluster: {server: "http://10.0.0.1:8080/prefix/"}
users:
- name: admin
  user: {client-certificate-data: Y2VydA==, client-key: pki/admin.key}
- name: robot
  user: {tokenFile: /var/token}
- name: plugin
  user:
    exec: {command: aws}
contexts:
- name: lab
  context: {cluster: lab, user: admin}
- name: robot
  context: {cluster: other, user: robot}
- name: plugin
  context: {cluster: lab, user: plugin}
- name: nobody
  context: {cluster: lab, user: nobody}
)";

Result<Access> parse(std::string_view text, std::string_view context = {}) {
    return parse_kubeconfig(text, "/etc/weir/config", context);
}

std::string error_of(std::string_view text, std::string_view context = {}) {
    const auto access = parse(text, context);
    return access ? "no error" : access.error().message();
}

TEST(Kubeconfig, CurrentContext) {
    const auto access = parse(kConfig);
    ASSERT_TRUE(access) << access.error().message();
    ASSERT_EQ(access->servers.size(), 1U);
    EXPECT_EQ(access->servers[0],
              (Server{.tls = true, .host = "fd00::1", .port = 6443, .path = ""}));
    EXPECT_EQ(access->ca.data, "ca");
    EXPECT_EQ(access->certificate.data, "cert");
    EXPECT_EQ(access->key.file, "/etc/weir/pki/admin.key") << "relative to the file";
    EXPECT_EQ(access->tls_server_name, "kubernetes");
    EXPECT_TRUE(access->token.empty());
}

TEST(Kubeconfig, NamedContext) {
    const auto access = parse(kConfig, "robot");
    ASSERT_TRUE(access) << access.error().message();
    EXPECT_EQ(access->servers[0],
              (Server{.tls = false, .host = "10.0.0.1", .port = 8080, .path = "/prefix"}));
    EXPECT_EQ(access->token.file, "/var/token");
}

TEST(Kubeconfig, CredentialPluginsAreRefusedWithTheWayOut) {
    const std::string error = error_of(kConfig, "plugin");
    EXPECT_THAT(error, HasSubstr("/etc/weir/config: line 19: users[2].user.exec"));
    EXPECT_THAT(error,
                HasSubstr("credential plugins are not run by the agent; use a service account's "
                          "token"));
}

TEST(Kubeconfig, MistakesAreNamed) {
    EXPECT_THAT(error_of(kConfig, "nobody"), HasSubstr("there is no such user in users"));
    EXPECT_THAT(error_of(kConfig, "x"), HasSubstr("there is no context \"x\""));
    EXPECT_THAT(error_of("a: ["), HasSubstr("/etc/weir/config: line 1"));
    EXPECT_THAT(error_of(""), HasSubstr("is empty"));
    EXPECT_THAT(error_of("clusters: 7"), HasSubstr("current-context"));
    const std::string no_key =
        R"({current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}],
      clusters: [{name: c, cluster: {server: "https://x", certificate-authority-data: "#"}}],
      users: [{name: u, user: {client-certificate: x}}]})";
    EXPECT_THAT(error_of(no_key), HasSubstr("needs both client-certificate and client-key"));
    EXPECT_THAT(error_of(no_key), HasSubstr("certificate-authority-data: is no base64"));
}

TEST(Kubeconfig, MissingFilesAreToldWhenItIsRead) {
    const fs::path dir = fs::temp_directory_path() / fmt::format("weir-kubeconfig.{}", ::getpid());
    fs::create_directories(dir);
    std::ofstream(dir / "config") << kConfig;
    const auto access = kubeconfig_access(dir / "config");
    fs::remove_all(dir);
    ASSERT_FALSE(access);
    EXPECT_THAT(access.error().message(), HasSubstr((dir / "pki/admin.key").string()));
}

TEST(Server, Urls) {
    EXPECT_EQ(Server::parse("10.0.0.1")->to_string(), "https://10.0.0.1:443");
    EXPECT_EQ(Server::parse("https://api.example:6443")->authority(), "api.example:6443");
    EXPECT_EQ(Server::parse("[::1]:1")->authority(), "[::1]:1");
    for (const char* bad : {"", "ftp://x", "https://", "https://a:0", "https://a:70000",
                            "https://[::1", "https://a b", "https://a/b c", "https://a:1:2"}) {
        EXPECT_FALSE(Server::parse(bad)) << bad;
    }
}

TEST(Access, ServersGivenReplaceThoseOfTheConfiguration) {
    auto access = parse(kConfig);
    ASSERT_TRUE(use_servers(*access, {}));
    EXPECT_EQ(access->servers.size(), 1U);
    ASSERT_TRUE(use_servers(*access, {"https://10.0.0.1:6443", "https://10.0.0.2:6443"}));
    ASSERT_EQ(access->servers.size(), 2U);
    EXPECT_EQ(access->servers[1].host, "10.0.0.2");
    EXPECT_FALSE(use_servers(*access, {"ftp://x"}));
}

TEST(Base64, DecodesAndRefuses) {
    EXPECT_EQ(decode_base64(""), "");
    EXPECT_EQ(decode_base64("Zg=="), "f");
    EXPECT_EQ(decode_base64("Zm8="), "fo");
    EXPECT_EQ(decode_base64("Zm9v\nYmFy"), "foobar");
    EXPECT_EQ(decode_base64("AP+A"), std::string("\0\xff\x80", 3));
    for (const char* bad : {"Z", "Zg", "Zg=", "Zg=a", "Z$==", "Zm9v="}) {
        EXPECT_EQ(decode_base64(bad), std::nullopt) << bad;
    }
}

}  // namespace
}  // namespace weir::kube::api
