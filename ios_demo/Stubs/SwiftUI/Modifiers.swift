// Stand-in, not Apple's: see Views.swift.

public enum Alignment: Sendable { case center, leading }
public enum ContentMode: Sendable { case fit, fill }
public struct Color: Sendable {
    public static let white = Color()
}
public struct ProminentStyle: Sendable {
    public static let borderedProminent = ProminentStyle()
}
public enum AccessibilityAdjustmentDirection: Sendable { case increment, decrement }
public struct DragGesture {
    public struct Value {
        public var location: CGPoint { fatalError("a stand-in for SwiftUI") }
    }
    public init(minimumDistance: CGFloat) {}
    @MainActor public func onChanged(
        _ action: @escaping @MainActor (Value) -> Void
    ) -> DragGesture { self }
}

extension View {
    public func aspectRatio(_ ratio: CGFloat?, contentMode: ContentMode) -> some View { self }
    public func frame(width: CGFloat? = nil, height: CGFloat? = nil) -> some View { self }
    public func offset(x: CGFloat) -> some View { self }
    public func padding() -> some View { self }
    public func foregroundStyle(_ color: Color) -> some View { self }
    public func disabled(_ disabled: Bool) -> some View { self }
    public func buttonStyle(_ style: ProminentStyle) -> some View { self }
    public func tag<Value: Hashable>(_ value: Value) -> some View { self }
    public func gesture(_ gesture: DragGesture) -> some View { self }
    public func navigationTitle(_ title: String) -> some View { self }
    public func accessibilityHidden(_ hidden: Bool) -> some View { self }
    public func accessibilityElement() -> some View { self }
    public func accessibilityLabel(_ text: String) -> some View { self }
    public func accessibilityValue(_ text: String) -> some View { self }
    public func accessibilityAdjustableAction(
        _ action: @escaping @MainActor (AccessibilityAdjustmentDirection) -> Void
    ) -> some View { self }
    public func mask<Content: View>(
        alignment: Alignment, @ViewBuilder _ content: () -> Content
    ) -> some View { self }
    public func task(
        _ action: @escaping @MainActor @Sendable () async -> Void
    ) -> some View { self }
    public func onDisappear(_ action: @escaping @MainActor () -> Void) -> some View { self }
    public func onChange<Value: Equatable>(
        of value: Value, _ action: @escaping @MainActor (Value, Value) -> Void
    ) -> some View { self }
    public func fullScreenCover<Content: View>(
        isPresented: Binding<Bool>, @ViewBuilder content: @escaping () -> Content
    ) -> some View { self }
    public func navigationDestination<Item: Hashable, Content: View>(
        item: Binding<Item?>, @ViewBuilder destination: @escaping (Item) -> Content
    ) -> some View { self }
    public func alert<Actions: View, Message: View>(
        _ title: String, isPresented: Binding<Bool>, @ViewBuilder actions: () -> Actions,
        @ViewBuilder message: () -> Message
    ) -> some View { self }
}

// -- Core Transferable ---------------------------------------------------------------------------

public protocol TransferRepresentation {}
public protocol Transferable {
    associatedtype Representation: TransferRepresentation
    static var transferRepresentation: Representation { get }
}
public struct ReceivedTransferredFile: Sendable {
    public var file: URL { fatalError("a stand-in for Core Transferable") }
}
public struct FileRepresentation<Item: Transferable>: TransferRepresentation {
    public init(
        importedContentType: UTType,
        importing: @escaping @Sendable (ReceivedTransferredFile) async throws -> Item
    ) {}
}
