import CoreGraphics
import Foundation
import RIDCore

/// The pixels of a photo, and what their numbers mean.
///
/// `@unchecked`: a `CGColorSpace` never changes, but its type does not say so.
public struct DecodedPhoto: @unchecked Sendable {
    /// As stored, opaque.
    public var bitmap: Bitmap
    /// sRGB, Display P3, or whatever RGB the photo is in.
    public let colorSpace: CGColorSpace
    /// What could not be kept, one line each, for people.
    public let notes: [String]

    /// Draws the picture into 8-bit pixels of its own colour space; one that is not RGB becomes
    /// sRGB.
    ///
    /// - Throws: `RIDError.photoUnreadable`.
    init(_ image: CGImage, depth: Int) throws {
        var notes = depth > 8 ? ["\(depth) bits per colour became 8."] : []
        var space = image.colorSpace
        if space?.model != .rgb || space?.supportsOutput != true {
            space = CGColorSpace(name: CGColorSpace.sRGB)
            notes.append("The colours were converted to sRGB.")
        }
        guard let space else { throw RIDError.photoUnreadable("its colours are of no known kind") }
        var bitmap = Bitmap(width: image.width, height: image.height)
        let isTransparent = try bitmap.withView { view in
            let alpha: CGImageAlphaInfo = image.hasAlpha ? .premultipliedLast : .noneSkipLast
            try draw(image, into: view, space, alpha: alpha)
            return image.hasAlpha && view.isTransparent
        }
        guard !isTransparent else {
            // Colours are stored times alpha: the bound would not be that of the saved values.
            throw RIDError.photoUnreadable("it is partly transparent, which no camera's photo is")
        }
        self.bitmap = bitmap
        self.notes = notes
        colorSpace = space
    }

    /// Lends the photo as an image without copying its pixels.
    ///
    /// - Parameter body: may not keep the image.
    mutating func withImage<Result>(_ body: (CGImage) throws -> Result) throws -> Result {
        let space = colorSpace
        return try bitmap.withView { view in
            let provider = CGDataProvider(
                dataInfo: nil, data: view.base, size: view.bytesPerRow * view.height,
                releaseData: { _, _, _ in })
            guard let provider,
                let image = opaqueImage(
                    view.width, view.height, view.bytesPerRow, provider, space)
            else {
                throw RIDError.photoNotWritten("there is no memory for it")
            }
            return try body(image)
        }
    }
}

extension Bitmap {
    /// A picture for the screen.
    ///
    /// - Returns: nil if there is no memory.
    func image(_ space: CGColorSpace) -> CGImage? {
        guard let provider = CGDataProvider(data: Data(bytes) as CFData) else { return nil }
        return opaqueImage(width, height, bytesPerRow, provider, space)
    }
}

extension PixelView {
    fileprivate var isTransparent: Bool {
        (0..<height).contains { row in
            let line = bytes(row: row)
            return (0..<width).contains { line[4 * $0 + 3] < 255 }
        }
    }
}

extension CGImage {
    fileprivate var hasAlpha: Bool {
        switch alphaInfo {
        case .none, .noneSkipFirst, .noneSkipLast: return false
        default: return true
        }
    }
}

private func draw(
    _ image: CGImage, into view: PixelView, _ space: CGColorSpace, alpha: CGImageAlphaInfo
) throws {
    guard
        let context = CGContext(
            data: view.base, width: view.width, height: view.height, bitsPerComponent: 8,
            bytesPerRow: view.bytesPerRow, space: space, bitmapInfo: alpha.rawValue)
    else { throw RIDError.photoUnreadable("its colour space cannot be drawn in") }
    // Pixel on pixel: nothing is to be interpolated or mixed with what is there.
    context.interpolationQuality = .none
    context.setBlendMode(.copy)
    context.draw(image, in: CGRect(x: 0, y: 0, width: view.width, height: view.height))
}

private func opaqueImage(
    _ width: Int, _ height: Int, _ bytesPerRow: Int, _ provider: CGDataProvider,
    _ space: CGColorSpace
) -> CGImage? {
    CGImage(
        width: width, height: height, bitsPerComponent: 8, bitsPerPixel: 32,
        bytesPerRow: bytesPerRow, space: space,
        bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.noneSkipLast.rawValue),
        provider: provider, decode: nil, shouldInterpolate: false, intent: .defaultIntent)
}
