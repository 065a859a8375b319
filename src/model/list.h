// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::model {

/// A std::vector in the space of one pointer, for objects of which a big cluster has many and whose
/// lists are short or empty. Grows as std::vector does; converts from one.
template <typename T>
class List {
    static_assert(std::is_nothrow_move_constructible_v<T>);

  public:
    using value_type = T;
    using iterator = T*;
    using const_iterator = const T*;

    List() = default;
    List(std::initializer_list<T> items) { append(items.begin(), items.end()); }
    List(const std::vector<T>& items) { append(items.begin(), items.end()); }
    template <typename Iterator>
    List(Iterator first, Iterator last) {
        append(first, last);
    }
    List(const List& other) { append(other.begin(), other.end()); }
    List(List&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
    List& operator=(List other) noexcept {
        std::swap(head_, other.head_);
        return *this;
    }
    ~List() {
        clear();
        std::free(head_);
    }

    [[nodiscard]] size_t size() const { return head_ == nullptr ? 0 : head_->size; }
    [[nodiscard]] size_t capacity() const { return head_ == nullptr ? 0 : head_->capacity; }
    [[nodiscard]] bool empty() const { return size() == 0; }
    T* begin() { return items(); }
    T* end() { return items() + size(); }
    [[nodiscard]] const T* begin() const { return items(); }
    [[nodiscard]] const T* end() const { return items() + size(); }
    T& operator[](size_t index) { return items()[index]; }
    const T& operator[](size_t index) const { return items()[index]; }
    T& front() { return items()[0]; }
    [[nodiscard]] const T& front() const { return items()[0]; }
    T& back() { return items()[size() - 1]; }
    [[nodiscard]] const T& back() const { return items()[size() - 1]; }

    void reserve(size_t capacity) {
        if (capacity > this->capacity()) move_to(capacity);
    }
    template <typename... Args>
    T& emplace_back(Args&&... args) {
        if (size() == capacity()) {
            T item(std::forward<Args>(args)...);  // it may refer to an item of this list
            move_to(std::max<size_t>(1, size() * 2));
            return place(std::move(item));
        }
        return place(std::forward<Args>(args)...);
    }
    void push_back(T item) { emplace_back(std::move(item)); }
    /// Before `at`; returns where it is.
    T* insert(const T* at, T item) {
        const auto index = at - items();
        push_back(std::move(item));
        std::rotate(begin() + index, end() - 1, end());
        return begin() + index;
    }
    T* erase(const T* at) {
        const auto index = at - items();
        std::move(begin() + index + 1, end(), begin() + index);
        std::destroy_at(&back());
        --head_->size;
        return begin() + index;
    }
    void clear() {
        if (head_ == nullptr) return;
        std::destroy(begin(), end());
        head_->size = 0;
    }

    friend bool operator==(const List& a, const List& b) {
        return std::equal(a.begin(), a.end(), b.begin(), b.end());
    }

  private:
    struct Head {
        uint32_t size;
        uint32_t capacity;
    };
    static_assert(alignof(T) <= sizeof(Head));

    [[nodiscard]] T* items() const {
        return head_ == nullptr ? nullptr : reinterpret_cast<T*>(head_ + 1);
    }
    template <typename... Args>
    T& place(Args&&... args) {
        return *std::construct_at(items() + head_->size++, std::forward<Args>(args)...);
    }
    template <typename Iterator>
    void append(Iterator first, Iterator last) {
        reserve(static_cast<size_t>(std::distance(first, last)));
        for (; first != last; ++first)
            place(*first);
    }
    void move_to(size_t capacity) {
        void* memory = std::malloc(sizeof(Head) + capacity * sizeof(T));
        if (memory == nullptr) throw std::bad_alloc();
        auto* fresh =
            new (memory) Head{static_cast<uint32_t>(size()), static_cast<uint32_t>(capacity)};
        std::uninitialized_move(begin(), end(), reinterpret_cast<T*>(fresh + 1));
        std::destroy(begin(), end());
        std::free(head_);
        head_ = fresh;
    }

    Head* head_ = nullptr;
};

}  // namespace weir::model
