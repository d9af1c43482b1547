// Stand-in, not Apple's: pictures are arrays of bytes, four a pixel, and drawing copies them.
// Enough to run the Kit's own code on; it knows nothing of colour.
@_exported import CoreFoundationTypes

public enum CGColorSpaceModel: Sendable { case unknown, monochrome, rgb, cmyk, lab }

public final class CGColorSpace {
    public static let sRGB: CFString = "kCGColorSpaceSRGB"
    public static let displayP3: CFString = "kCGColorSpaceDisplayP3"
    public let name: CFString
    public init?(name: CFString) { self.name = name }
    public var model: CGColorSpaceModel { .rgb }
    public var supportsOutput: Bool { true }
}

public enum CGImageAlphaInfo: UInt32, Sendable {
    case none, premultipliedLast, premultipliedFirst, last, first, noneSkipLast, noneSkipFirst
    case alphaOnly
}

public struct CGBitmapInfo: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

public enum CGColorRenderingIntent: Sendable { case defaultIntent, absoluteColorimetric }
public enum CGInterpolationQuality: Sendable { case `default`, none, low, medium, high }
public enum CGBlendMode: Sendable { case normal, copy }

public typealias CGDataProviderReleaseDataCallback = (
    UnsafeMutableRawPointer?, UnsafeRawPointer, Int
) -> Void

public final class CGDataProvider {
    public let bytes: [UInt8]
    public init?(data: CFData) { bytes = [UInt8](data) }
    public init?(
        dataInfo: UnsafeMutableRawPointer?, data: UnsafeRawPointer, size: Int,
        releaseData: CGDataProviderReleaseDataCallback
    ) { bytes = [UInt8](UnsafeRawBufferPointer(start: data, count: size)) }
}

public final class CGImage {
    public let width: Int
    public let height: Int
    public let bytesPerRow: Int
    public let colorSpace: CGColorSpace?
    public let alphaInfo: CGImageAlphaInfo
    public let bytes: [UInt8]

    public init?(
        width: Int, height: Int, bitsPerComponent: Int, bitsPerPixel: Int, bytesPerRow: Int,
        space: CGColorSpace, bitmapInfo: CGBitmapInfo, provider: CGDataProvider,
        decode: UnsafePointer<CGFloat>?, shouldInterpolate: Bool, intent: CGColorRenderingIntent
    ) {
        guard provider.bytes.count >= height * bytesPerRow, bitsPerPixel == 32 else { return nil }
        self.width = width
        self.height = height
        self.bytesPerRow = bytesPerRow
        colorSpace = space
        alphaInfo = CGImageAlphaInfo(rawValue: bitmapInfo.rawValue) ?? .none
        bytes = provider.bytes
    }
}

public final class CGContext {
    private let data: UnsafeMutableRawPointer
    private let bytesPerRow: Int
    private let keepsAlpha: Bool
    public var interpolationQuality = CGInterpolationQuality.default

    public init?(
        data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int,
        bytesPerRow: Int, space: CGColorSpace, bitmapInfo: UInt32
    ) {
        guard let data else { return nil }
        self.data = data
        self.bytesPerRow = bytesPerRow
        keepsAlpha = bitmapInfo == CGImageAlphaInfo.premultipliedLast.rawValue
    }

    public func setBlendMode(_ mode: CGBlendMode) {}

    public func draw(_ image: CGImage, in rect: CGRect) {
        precondition(Int(rect.width) == image.width && Int(rect.height) == image.height)
        for row in 0..<image.height {
            let line = (data + row * bytesPerRow).assumingMemoryBound(to: UInt8.self)
            for byte in 0..<4 * image.width {
                let isOpaque = byte % 4 == 3 && !keepsAlpha
                line[byte] = isOpaque ? 255 : image.bytes[row * image.bytesPerRow + byte]
            }
        }
    }
}
