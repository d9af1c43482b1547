// Stand-in, not Apple's: signatures to type-check against. Nothing is drawn.
@_exported import SwiftUI

open class CALayer {}

@MainActor open class UIView {
    public struct AutoresizingMask: OptionSet, Sendable {
        public let rawValue: UInt
        public init(rawValue: UInt) { self.rawValue = rawValue }
        public static let flexibleWidth = AutoresizingMask(rawValue: 2)
        public static let flexibleHeight = AutoresizingMask(rawValue: 16)
    }
    public init() {}
    open class var layerClass: AnyClass { CALayer.self }
    public let layer = CALayer()
    public var frame = CGRect.zero
    public var bounds: CGRect { frame }
    public var autoresizingMask: AutoresizingMask = []
    public func addSubview(_ view: UIView) {}
}

@MainActor open class UIViewController {
    public init() {}
    public var view: UIView! = UIView()
    public var extensionContext: NSExtensionContext? { nil }
    open func viewDidLoad() {}
    public func addChild(_ child: UIViewController) {}
    public func didMove(toParent parent: UIViewController?) {}
}

public final class UIHostingController<Content: View>: UIViewController {
    public init(rootView: Content) { super.init() }
}

public struct UIViewRepresentableContext<Representable> {}

@MainActor @preconcurrency public protocol UIViewRepresentable: View where Body == Never {
    associatedtype UIViewType: UIView
    typealias Context = UIViewRepresentableContext<Self>
    func makeUIView(context: Context) -> UIViewType
    func updateUIView(_ view: UIViewType, context: Context)
}
extension UIViewRepresentable {
    public var body: Never { fatalError("a stand-in for SwiftUI") }
}

// Part of Foundation on Apple systems.
public final class NSExtensionItem {
    public var attachments: [NSItemProvider]?
}
public final class NSExtensionContext {
    public var inputItems: [Any] { [] }
    public func completeRequest(returningItems: [Any]?) {}
}
