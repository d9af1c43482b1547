// Stand-in, not Apple's: enough of SwiftUI's signatures to type-check the demo against. Nothing is
// drawn. Isolation follows the SDK of Xcode 16: View, App and Scene belong to the main actor.
@_exported import CoreGraphics
@_exported import Observation
@_exported import UniformTypeIdentifiers

@MainActor @preconcurrency public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {
    public var body: Never { fatalError("a stand-in for SwiftUI") }
}

/// A view that has no content of its own.
@MainActor public protocol Leaf: View where Body == Never {}
extension Leaf {
    public var body: Never { fatalError("a stand-in for SwiftUI") }
}

public struct EmptyView: Leaf {
    public nonisolated init() {}
}
public struct TupleView<each Content: View>: Leaf {
    nonisolated init(_ content: repeat each Content) {}
}
public struct ConditionalContent<First: View, Second: View>: Leaf {
    nonisolated init() {}
}
extension Optional: View where Wrapped: View {
    public var body: Never { fatalError("a stand-in for SwiftUI") }
}

@resultBuilder public struct ViewBuilder {
    public static func buildBlock() -> EmptyView { EmptyView() }
    public static func buildBlock<Content: View>(_ content: Content) -> Content { content }
    public static func buildBlock<each Content: View>(
        _ content: repeat each Content
    ) -> TupleView<repeat each Content> { TupleView(repeat each content) }
    public static func buildExpression<Content: View>(_ content: Content) -> Content { content }
    public static func buildIf<Content: View>(_ content: Content?) -> Content? { content }
    public static func buildEither<First: View, Second: View>(
        first: First
    ) -> ConditionalContent<First, Second> { ConditionalContent() }
    public static func buildEither<First: View, Second: View>(
        second: Second
    ) -> ConditionalContent<First, Second> { ConditionalContent() }
}

@MainActor @preconcurrency public protocol Scene {}
@MainActor @preconcurrency public protocol App {
    associatedtype Content: Scene
    init()
    var body: Content { get }
}
extension App {
    public static func main() { fatalError("a stand-in for SwiftUI") }
}
public struct WindowGroup<Content: View>: Scene {
    public init(@ViewBuilder content: () -> Content) {}
}

// -- state ---------------------------------------------------------------------------------------

/// A reference inside: views assign to it although they are values.
@propertyWrapper public struct State<Value> {
    private final class Box {
        var value: Value
        init(_ value: Value) { self.value = value }
    }
    private let box: Box
    public init(wrappedValue: Value) { box = Box(wrappedValue) }
    public init(initialValue: Value) { box = Box(initialValue) }
    public var wrappedValue: Value {
        get { box.value }
        nonmutating set { box.value = newValue }
    }
    public var projectedValue: Binding<Value> { fatalError("a stand-in for SwiftUI") }
}
extension State where Value: ExpressibleByNilLiteral {
    public init() { self.init(wrappedValue: nil) }
}
@propertyWrapper @dynamicMemberLookup public struct Binding<Value> {
    private let get: () -> Value
    private let set: (Value) -> Void
    public init(get: @escaping () -> Value, set: @escaping (Value) -> Void) {
        self.get = get
        self.set = set
    }
    public var wrappedValue: Value {
        get { get() }
        nonmutating set { set(newValue) }
    }
    public subscript<Subject>(
        dynamicMember path: WritableKeyPath<Value, Subject>
    ) -> Binding<Subject> { fatalError("a stand-in for SwiftUI") }
}
@propertyWrapper @dynamicMemberLookup public struct Bindable<Value: AnyObject & Observable> {
    public var wrappedValue: Value
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    public var projectedValue: Bindable<Value> { self }
    public subscript<Subject>(
        dynamicMember path: ReferenceWritableKeyPath<Value, Subject>
    ) -> Binding<Subject> { fatalError("a stand-in for SwiftUI") }
}
@propertyWrapper public struct Environment<Value> {
    public init(_ path: KeyPath<EnvironmentValues, Value>) {}
    public var wrappedValue: Value { fatalError("a stand-in for SwiftUI") }
}
public struct EnvironmentValues {
    public var dismiss: DismissAction { DismissAction() }
    public var scenePhase: ScenePhase { .active }
}
@MainActor public struct DismissAction {
    nonisolated init() {}
    public func callAsFunction() {}
}
public enum ScenePhase: Sendable { case background, inactive, active }

// -- views ---------------------------------------------------------------------------------------

public struct Text: Leaf {
    public init(_ text: String) {}
}
public struct Label: Leaf {
    public init(_ title: String, systemImage: String) {}
}
public struct Image: Leaf {
    public init(decorative image: CGImage, scale: CGFloat) {}
    public func resizable() -> Image { self }
}
public struct Rectangle: Leaf {
    public init() {}
}
public struct Button: Leaf {
    public init(
        _ title: String, role: ButtonRole? = nil, action: @escaping @MainActor () -> Void
    ) {}
    public init<Content: View>(
        action: @escaping @MainActor () -> Void, @ViewBuilder label: () -> Content
    ) {}
}
public enum ButtonRole: Sendable { case destructive, cancel }
public struct Toggle: Leaf {
    public init(_ title: String, isOn: Binding<Bool>) {}
}
public struct Slider: Leaf {
    public init<A: View, B: View, C: View>(
        value: Binding<Double>, in range: ClosedRange<Double>, @ViewBuilder label: () -> A,
        @ViewBuilder minimumValueLabel: () -> B, @ViewBuilder maximumValueLabel: () -> C
    ) {}
}
public struct Picker: Leaf {
    public init<Selection: Hashable, Content: View>(
        _ title: String, selection: Binding<Selection>, @ViewBuilder content: () -> Content
    ) {}
}
public struct ProgressView: Leaf {
    public init(_ title: String) {}
    public init(_ title: String, value: Double?) {}
}
public struct LabeledContent: Leaf {
    public init(_ title: String, value: String) {}
    public init<Content: View>(_ title: String, @ViewBuilder content: () -> Content) {}
}
public struct ShareLink: Leaf {
    public init(_ title: String, item: URL) {}
}
public struct ForEach: Leaf {
    public init<Data: RandomAccessCollection, Content: View>(
        _ data: Data, @ViewBuilder content: @escaping (Data.Element) -> Content
    ) where Data.Element: Identifiable {}
    public init<Data: RandomAccessCollection, ID: Hashable, Content: View>(
        _ data: Data, id: KeyPath<Data.Element, ID>,
        @ViewBuilder content: @escaping (Data.Element) -> Content
    ) {}
}
public struct Form: Leaf {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
}
public struct Section: Leaf {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
    public init<Content: View>(_ title: String, @ViewBuilder content: () -> Content) {}
    public init<Content: View, Footer: View>(
        @ViewBuilder content: () -> Content, @ViewBuilder footer: () -> Footer
    ) {}
}
public struct VStack: Leaf {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
}
public struct HStack: Leaf {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
}
public struct ZStack: Leaf {
    public init<Content: View>(
        alignment: Alignment = .center, @ViewBuilder content: () -> Content
    ) {}
}
public struct GeometryProxy {
    public var size: CGSize { fatalError("a stand-in for SwiftUI") }
}
public struct GeometryReader: Leaf {
    public init<Content: View>(@ViewBuilder content: @escaping (GeometryProxy) -> Content) {}
}
public struct NavigationStack: Leaf {
    public init<Content: View>(@ViewBuilder root: () -> Content) {}
}
public struct NavigationLink: Leaf {
    public init<Content: View>(_ title: String, @ViewBuilder destination: () -> Content) {}
}
