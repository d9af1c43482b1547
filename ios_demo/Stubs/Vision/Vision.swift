// Stand-in, not Apple's: signatures to type-check against. Nothing here finds a face.
@_exported import CoreGraphics

open class VNRequest {
    public init() {}
}
public final class VNFaceObservation {}
public final class VNDetectFaceRectanglesRequest: VNRequest {
    public var results: [VNFaceObservation]? { [] }
}
public struct VNImageOption: Hashable, Sendable {}
public final class VNImageRequestHandler {
    public init(cgImage image: CGImage, options: [VNImageOption: Any] = [:]) {}
    public func perform(_ requests: [VNRequest]) throws {}
}
