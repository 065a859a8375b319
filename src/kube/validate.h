// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

namespace weir::kube {

/// What is wrong with a name, in words that follow "is no …: "; nothing if it is right. The rules
/// are those of the Kubernetes API: RFC 1123 labels and subdomains, IANA service names, label keys.
using NameProblem = std::optional<std::string_view>;

NameProblem dns_label_problem(std::string_view name);
NameProblem dns_subdomain_problem(std::string_view name);
NameProblem port_name_problem(std::string_view name);
NameProblem label_key_problem(std::string_view key);
NameProblem label_value_problem(std::string_view value);

}  // namespace weir::kube
