// SPDX-License-Identifier: Apache-2.0
#include "kube/api/kubeconfig.h"

#include <optional>

#include "common/fd.h"
#include "kube/api/base64.h"
#include "kube/cursor.h"
#include "kube/documents.h"

namespace weir::kube::api {
namespace fs = std::filesystem;

namespace {

/// The entry of a list of {name, BODY} whose name is the one wanted.
std::optional<Cursor> named(const Cursor& list, std::string_view wanted, std::string_view body) {
    for (const Cursor& entry : list.items()) {
        if (entry["name"].string() == wanted) return entry[body];
    }
    return std::nullopt;
}

class Reader {
  public:
    Reader(const Cursor& root, fs::path directory)
        : root_(root), directory_(std::move(directory)) {}

    void read(std::string_view context, Access& access) {
        const Cursor current = root_["current-context"];
        const auto wanted = context.empty() ? current.string().value_or("") : context;
        if (wanted.empty()) return current.error("is empty; set it, or name a context");
        const auto found = named(root_["contexts"], wanted, "context");
        if (!found) return root_["contexts"].error("there is no context \"{}\"", wanted);
        const auto ns = (*found)["namespace"].string().value_or("");
        if (!ns.empty()) access.ns = ns;
        read_cluster(*found, access);
        read_user(*found, access);
    }

  private:
    void read_cluster(const Cursor& context, Access& access) {
        const Cursor name = context["cluster"];
        if (!name.require()) return;
        const auto cluster = named(root_["clusters"], name.string().value_or(""), "cluster");
        if (!cluster) return name.error("there is no such cluster in clusters");
        const Cursor url = (*cluster)["server"];
        if (url.require()) {
            auto server = Server::parse(url.string().value_or(""));
            if (!server) return url.error("{}", server.error().message());
            access.servers.push_back(*std::move(server));
        }
        access.ca = secret(*cluster, "certificate-authority");
        access.tls_server_name = (*cluster)["tls-server-name"].string().value_or("");
        access.skip_verify = (*cluster)["insecure-skip-tls-verify"].boolean().value_or(false);
        if (access.skip_verify && !access.ca.empty()) {
            (*cluster)["insecure-skip-tls-verify"].error(
                "must be absent beside a certificate authority");
        }
        refuse((*cluster)["proxy-url"],
               "proxies are not supported; give a server that is reached "
               "directly");
    }

    void read_user(const Cursor& context, Access& access) {
        const Cursor name = context["user"];
        if (!name.present()) return;
        const auto user = named(root_["users"], name.string().value_or(""), "user");
        if (!user) return name.error("there is no such user in users");
        access.certificate = secret(*user, "client-certificate");
        access.key = secret(*user, "client-key");
        if (access.certificate.empty() != access.key.empty()) {
            user->error("needs both client-certificate and client-key, or none");
        }
        access.token.data = (*user)["token"].string().value_or("");
        if (const auto file = (*user)["tokenFile"].string()) access.token = {{}, resolve(*file)};
        refuse((*user)["exec"],
               "credential plugins are not run by the agent; use a service account's token "
               "(tokenFile) or a client certificate");
        refuse((*user)["auth-provider"],
               "is no longer supported by Kubernetes; use a token or a client certificate");
        refuse((*user)["username"], "basic authentication is not supported by Kubernetes");
        refuse((*user)["as"], "impersonation is not supported; use the credentials themselves");
    }

    static void refuse(const Cursor& field, std::string_view why) {
        if (field.present()) field.error("{}", why);
    }

    /// KEY-data inline, or KEY as a path; inline wins.
    [[nodiscard]] Secret secret(const Cursor& at, std::string_view key) const {
        const std::string inline_key = fmt::format("{}-data", key);
        const Cursor data = at[inline_key];
        if (const auto text = data.string(); text && !text->empty()) {
            auto bytes = decode_base64(*text);
            if (!bytes) data.error("is no base64");
            return {bytes.value_or(""), {}};
        }
        const auto path = at[key].string();
        return path && !path->empty() ? Secret{{}, resolve(*path)} : Secret{};
    }

    [[nodiscard]] fs::path resolve(std::string_view path) const { return directory_ / path; }

    Cursor root_;
    fs::path directory_;
};

std::string describe(const std::vector<FieldError>& errors) {
    std::string text;
    for (const auto& error : errors) {
        text += fmt::format("{}line {}: {}{}{}", text.empty() ? "" : "; ", error.line, error.path,
                            error.path.empty() ? "" : ": ", error.message);
    }
    return text;
}

}  // namespace

Result<Access> parse_kubeconfig(std::string_view text, const fs::path& file,
                                std::string_view context) {
    std::optional<tl::expected<Tree, SyntaxError>> document;
    for_each_document(text, [&](tl::expected<Tree, SyntaxError> parsed) {
        if (!document) document = std::move(parsed);
    });
    if (!document) return fail(Errc::kInvalid, "{}: is empty", file.string());
    if (!*document) {
        return fail(Errc::kInvalid, "{}: line {}: {}", file.string(), document->error().line,
                    document->error().message);
    }
    TextPool pool;
    Report report(pool);
    Access access;
    access.origin = file.string();
    Reader(Cursor(**document, 0, report), file.parent_path()).read(context, access);
    if (!report.ok()) {
        return fail(Errc::kInvalid, "{}: {}", file.string(), describe(report.take()));
    }
    return access;
}

Result<Access> kubeconfig_access(const fs::path& file, std::string_view context) {
    const auto text = WEIR_TRY((Secret{{}, file}.read()));
    auto access = WEIR_TRY(parse_kubeconfig(text, file, context));
    for (const Secret* secret : {&access.ca, &access.certificate, &access.key, &access.token})
        WEIR_CHECK(secret->read());
    return access;
}

}  // namespace weir::kube::api
